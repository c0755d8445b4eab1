INSERT INTO audit VALUES (2, 1700000000001, 'admin', '127.0.0.1', 'job.cancel', '1', 'ok', x'00', 3);
