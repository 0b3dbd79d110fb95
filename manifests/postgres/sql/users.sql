CREATE TABLE IF NOT EXISTS public.users (
    user_id    serial PRIMARY KEY,
    full_name  text NOT NULL,
    email      text NOT NULL UNIQUE,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);
-- Updates and deletes carry the whole row as it was, not only its key. What is so already is left alone: ALTER TABLE
-- takes a lock that everybody waits for.
DO $$
DECLARE
    it regclass;
BEGIN
    FOR it IN SELECT oid FROM pg_class WHERE relreplident <> 'f'
              AND oid IN (to_regclass('public.users')) LOOP
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', it);
    END LOOP;
END $$;
