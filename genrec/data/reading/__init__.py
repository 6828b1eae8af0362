"""Reading of tables: files, folders, URLs and frames to Arrow columns, with every row counted."""
