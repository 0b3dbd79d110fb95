INSERT INTO public.users (full_name, email) VALUES
    ('Alice Smith',   'alice@example.com'),
    ('Bob Jones',     'bob@example.com'),
    ('Charlie Brown', 'charlie@example.com'),
    ('Diana Prince',  'diana@example.com')
ON CONFLICT (email) DO NOTHING;
UPDATE public.users SET full_name = 'Bob A. Jones', updated_at = now()
 WHERE email = 'bob@example.com' AND full_name = 'Bob Jones';
