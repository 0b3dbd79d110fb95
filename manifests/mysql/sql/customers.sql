CREATE DATABASE IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.customers (
    customer_id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    full_name   varchar(200) NOT NULL,
    email       varchar(320) NOT NULL,
    created_at  datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UNIQUE KEY email (email)
);
