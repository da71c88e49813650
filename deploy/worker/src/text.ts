/** Text as Python handles it, where JavaScript differs. */

// What str.strip() removes. JavaScript's trim() removes U+FEFF too, and leaves U+001C to U+001F and U+0085.
const SPACE = new Set(
  "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007" +
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000",
);

/** A text without the space at both ends, as str.strip() leaves it. */
export function strip(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && SPACE.has(text[start]!)) start++;
  while (end > start && SPACE.has(text[end - 1]!)) end--;
  return text.slice(start, end);
}
