CREATE TABLE IF NOT EXISTS public.accounts (
    id     bigint PRIMARY KEY,
    label  text NOT NULL,
    amount numeric(12, 2),
    body   text
);
CREATE TABLE IF NOT EXISTS public.documents (
    id     bigint NOT NULL,
    part   integer NOT NULL,
    label  text NOT NULL,
    amount numeric(12, 2),
    body   text,
    PRIMARY KEY (id, part)
);
CREATE TABLE IF NOT EXISTS public.ledger (
    id     bigint PRIMARY KEY,
    label  text NOT NULL,
    amount numeric(12, 2),
    body   text
);
-- Updates and deletes carry the whole row as it was, not only its key. What is so already is left alone: ALTER TABLE
-- takes a lock that everybody waits for.
DO $$
DECLARE
    it regclass;
BEGIN
    FOR it IN SELECT oid FROM pg_class WHERE relreplident <> 'f'
              AND oid IN (to_regclass('public.accounts'), to_regclass('public.documents'), to_regclass('public.ledger')) LOOP
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', it);
    END LOOP;
END $$;
