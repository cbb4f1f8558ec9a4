-- Everything public has a comment: it is what psql and language models show of it.

-- Functions, tables, views, types of the extension without one, and columns of the table of entries
SELECT pg_describe_object(d.classid, d.objid, 0) AS without_comment
FROM pg_depend d
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals')
  AND (d.classid IN ('pg_proc'::regclass, 'pg_namespace'::regclass)
    OR d.classid = 'pg_class'::regclass AND (SELECT relkind IN ('r', 'p', 'v') FROM pg_class WHERE oid = d.objid)
    OR d.classid = 'pg_type'::regclass AND (SELECT typtype = 'b' AND typelem = 0 FROM pg_type WHERE oid = d.objid))
  AND obj_description(d.objid, d.classid::regclass::name) IS NULL
ORDER BY 1;
SELECT attname AS without_comment FROM pg_attribute
WHERE attrelid = 'mals.entries'::regclass AND attnum > 0 AND NOT attisdropped
  AND col_description(attrelid, attnum) IS NULL
ORDER BY attnum;

-- Comments are sentences
SELECT p.oid::regprocedure AS without_sentence
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals')
  AND (length(obj_description(p.oid, 'pg_proc')) < 12 OR obj_description(p.oid, 'pg_proc') !~ '\.$')
ORDER BY 1;

-- Settings have a description
SELECT mals_version() IS NOT NULL AS loaded;
SELECT name AS without_description FROM pg_settings
WHERE name LIKE 'mals.%' AND COALESCE(short_desc, '') !~ '\.$'
ORDER BY 1;

-- Arguments have names, but those of the type's support functions and aggregates
SELECT p.oid::regprocedure AS without_names
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'mals')
  AND p.proname LIKE 'mals\_%' AND p.proname NOT LIKE 'mals\_level\_%' AND p.pronargs > 0
  AND ('' = ANY (p.proargnames) OR p.proargnames IS NULL)
ORDER BY 1;
