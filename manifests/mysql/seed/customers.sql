INSERT IGNORE INTO shop.customers (full_name, email) VALUES
    ('Alice Smith',   'alice@example.com'),
    ('Bob Jones',     'bob@example.com'),
    ('Charlie Brown', 'charlie@example.com');
