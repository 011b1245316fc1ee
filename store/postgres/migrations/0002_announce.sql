-- Each commit of events wakes those who listen, in any process. The channel is
-- named after the schema, so it stays when the tables are made anew.
CREATE FUNCTION announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('bb_' || md5(TG_TABLE_SCHEMA), '');
  RETURN NULL;
END $$;

CREATE TRIGGER announce AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION announce();
