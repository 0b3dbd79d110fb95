INSERT INTO public.customers (name, email) VALUES
    ('Alice Smith', 'alice@example.com'),
    ('Bob Jones',   'bob@example.com')
ON CONFLICT (email) DO NOTHING;
INSERT INTO public.orders (order_id, customer_id, total)
SELECT 1, customer_id, 29.90 FROM public.customers WHERE email = 'alice@example.com'
ON CONFLICT (order_id) DO NOTHING;
SELECT setval('public.orders_order_id_seq', greatest(2, (SELECT max(order_id) + 1 FROM public.orders)), false);
INSERT INTO public.line_items (order_id, line_no, product, quantity, price) VALUES
    (1, 1, 'Kettle', 1, 19.90),
    (1, 2, 'Cup',    2, 5.00)
ON CONFLICT (order_id, line_no) DO NOTHING
