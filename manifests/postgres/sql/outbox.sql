CREATE TABLE IF NOT EXISTS public.orders (
    order_id    bigserial PRIMARY KEY,
    customer_id bigint NOT NULL,
    status      text NOT NULL DEFAULT 'placed',
    total       numeric(12, 2) NOT NULL,
    ordered_at  timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS public.order_items (
    order_id bigint NOT NULL REFERENCES public.orders ON DELETE CASCADE,
    line_no  integer NOT NULL,
    product  text NOT NULL,
    quantity integer NOT NULL,
    price    numeric(12, 2) NOT NULL,
    PRIMARY KEY (order_id, line_no)
);
-- Rows are events: an application inserts one in the transaction that makes it true.
CREATE TABLE IF NOT EXISTS public.outbox_events (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    aggregatetype text NOT NULL,
    aggregateid   text NOT NULL,
    type          text NOT NULL,
    payload       jsonb NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
-- What the events add up to: `cargo xtask projection run` writes it.
CREATE TABLE IF NOT EXISTS public.order_totals (
    customer_id bigint PRIMARY KEY,
    orders      bigint NOT NULL,
    total       numeric NOT NULL
);
-- Updates and deletes carry the whole row as it was, not only its key. What is so already is left alone: ALTER TABLE
-- takes a lock that everybody waits for.
DO $$
DECLARE
    it regclass;
BEGIN
    FOR it IN SELECT oid FROM pg_class WHERE relreplident <> 'f'
              AND oid IN (to_regclass('public.orders'), to_regclass('public.order_items')) LOOP
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', it);
    END LOOP;
END $$;
