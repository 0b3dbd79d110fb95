IF OBJECT_ID(N'dbo.customers') IS NULL
CREATE TABLE dbo.customers (
    customer_id bigint IDENTITY NOT NULL CONSTRAINT customers_key PRIMARY KEY,
    full_name   nvarchar(200) NOT NULL,
    email       nvarchar(320) NOT NULL CONSTRAINT customers_email UNIQUE,
    created_at  datetime2(6) NOT NULL CONSTRAINT customers_created_at DEFAULT SYSUTCDATETIME()
);
