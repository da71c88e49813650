// Files that are imported as text: by the rules of wrangler.jsonc, and by local.mjs.
declare module "*.md" {
  const text: string;
  export default text;
}
declare module "*.html" {
  const text: string;
  export default text;
}
