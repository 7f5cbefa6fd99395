-- Sessions that ended are found by where they came from and by the end of their id, which people quote. Without these
-- a search that finds nothing reads every session there was. Both are of columns that never change, so that counting a
-- live session's bytes still touches no index.

CREATE INDEX sessions_by_address ON sessions (client_address inet_ops);
CREATE INDEX sessions_by_id_end ON sessions (right(replace(id::text, '-', ''), 4));
