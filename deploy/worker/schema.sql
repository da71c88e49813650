-- The demo's tables; the columns are named like the tools' parameters. Applying it again changes nothing.
-- AUTOINCREMENT: an id is never used again, so that an old conversation cannot name somebody else's entry.
CREATE TABLE IF NOT EXISTS tasks (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  title TEXT NOT NULL,
  priority TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'open',
  dueDate TEXT,
  description TEXT
);
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  summary TEXT NOT NULL,
  startTime TEXT NOT NULL,
  endTime TEXT,
  location TEXT,
  attendees TEXT,
  description TEXT
);
CREATE VIRTUAL TABLE IF NOT EXISTS notes USING fts5(text);
