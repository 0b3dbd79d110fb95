INSERT INTO dbo.customers (full_name, email)
SELECT it.full_name, it.email
FROM (VALUES
    (N'Alice Smith',   N'alice@example.com'),
    (N'Bob Jones',     N'bob@example.com'),
    (N'Charlie Brown', N'charlie@example.com')
) AS it (full_name, email)
WHERE NOT EXISTS (SELECT 1 FROM dbo.customers AS there WHERE there.email = it.email);
