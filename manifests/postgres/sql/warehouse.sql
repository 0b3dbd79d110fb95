CREATE TABLE IF NOT EXISTS public.customers (
    customer_id serial PRIMARY KEY,
    name        text NOT NULL,
    email       text NOT NULL UNIQUE,
    created_at  timestamp NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS public.orders (
    order_id    serial PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES public.customers,
    status      text NOT NULL DEFAULT 'open',
    total       numeric(12, 2) NOT NULL DEFAULT 0,
    ordered_at  timestamp NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS public.line_items (
    order_id integer NOT NULL REFERENCES public.orders ON DELETE CASCADE,
    line_no  integer NOT NULL,
    product  text NOT NULL,
    quantity integer NOT NULL,
    price    numeric(12, 2) NOT NULL,
    PRIMARY KEY (order_id, line_no)
);
-- Updates and deletes carry the whole row as it was, not only its key. What is so already is left alone: ALTER TABLE
-- takes a lock that everybody waits for.
DO $$
DECLARE
    it regclass;
BEGIN
    FOR it IN SELECT oid FROM pg_class WHERE relreplident <> 'f'
              AND oid IN (to_regclass('public.customers'), to_regclass('public.orders'), to_regclass('public.line_items')) LOOP
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', it);
    END LOOP;
END $$;
