CREATE TABLE IF NOT EXISTS public.users (
    user_id    serial PRIMARY KEY,
    full_name  text NOT NULL,
    email      text NOT NULL UNIQUE,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);
-- Updates and deletes carry the whole row as it was, not only its key.
ALTER TABLE public.users REPLICA IDENTITY FULL;
