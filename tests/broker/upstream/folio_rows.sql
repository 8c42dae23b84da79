-- Three hundred users with loans, requests and accounts: numbers from 1001 on.
CREATE FUNCTION id_of(kind integer, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
  SELECT (lpad(kind::text, 8, '0') || '-0000-4000-8000-' || lpad(number::text, 12, '0'))::uuid
$$;
CREATE FUNCTION instant(at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS".000+00:00"')
$$;

INSERT INTO amrland_mod_inventory_storage.instance (id, jsonb)
  SELECT id_of(60, n), jsonb_build_object('id', id_of(60, n), 'title', 'Titel ' || n,
    'contributors', jsonb_build_array(jsonb_build_object('name', 'Auteur ' || n, 'primary', n % 7 <> 0)),
    'identifiers', jsonb_build_array(
      jsonb_build_object('value', 'isbn-' || n, 'identifierTypeId', '8261054f-be78-422d-bd51-4ed9f33c3422'),
      jsonb_build_object('value', 'other-' || n, 'identifierTypeId', '00000000-0000-4000-8000-00000000ffff')))
  FROM generate_series(1001, 1050) AS n;
INSERT INTO amrland_mod_inventory_storage.holdings_record (id, jsonb)
  SELECT id_of(70, n), jsonb_build_object('id', id_of(70, n), 'instanceId', id_of(60, 1001 + n % 50))
  FROM generate_series(1001, 1100) AS n;
INSERT INTO amrland_mod_inventory_storage.item (id, jsonb)
  SELECT id_of(20, n), jsonb_build_object('id', id_of(20, n), 'barcode', '3003' || lpad(n::text, 10, '0'),
    'holdingsRecordId', id_of(70, 1001 + n % 100), 'materialTypeId', '00000000-0000-4000-8000-000000000001')
  FROM generate_series(1001, 1600) AS n;

INSERT INTO amrland_mod_users.users (id, jsonb)
  SELECT id_of(10, n), jsonb_build_object('id', id_of(10, n), 'username', 'CANARY-' || n,
    'externalSystemId', 'CANARY-external', 'barcode', '2003' || lpad(n::text, 10, '0'), 'active', n % 15 <> 0,
    'type', CASE WHEN n % 25 = 0 THEN 'staff' ELSE 'patron' END,
    'personal', jsonb_strip_nulls(jsonb_build_object('lastName', 'Merel ' || n, 'firstName', 'Noor',
      'middleName', CASE WHEN n % 4 = 0 THEN 'van der' END, 'email', 'p' || n || '@example.org',
      'phone', CASE WHEN n % 6 = 0 THEN '06-00000000' END, 'mobilePhone', CASE WHEN n % 5 = 0 THEN '06 0000 0000' END,
      'dateOfBirth', instant('1960-01-01T00:00:00Z'::timestamptz + n * interval '10 days'),
      'addresses', jsonb_build_array(
        jsonb_build_object('addressLine1', 'Elders 1', 'city', 'Bergen', 'primaryAddress', false),
        jsonb_build_object('addressLine1', 'Kade ' || n, 'city', 'Alkmaar', 'postalCode', '1811 CD',
          'countryId', 'NL', 'primaryAddress', true)))),
    'enrollmentDate', instant('2020-01-01T00:00:00Z'::timestamptz + n * interval '1 day'),
    -- The last moment of a day at the library, in summer and in winter.
    'expirationDate', instant(((current_date + (n % 400)::integer + 1)::timestamp AT TIME ZONE 'Europe/Amsterdam')
      - interval '1 second'))
  FROM generate_series(1001, 1300) AS n;
INSERT INTO amrland_mod_circulation_storage.loan (id, jsonb)
  SELECT id_of(30, n), jsonb_strip_nulls(jsonb_build_object('id', id_of(30, n), 'userId', id_of(10, 1001 + n % 300),
    'itemId', id_of(20, n), 'status', jsonb_build_object('name', CASE WHEN n > 1300 THEN 'Closed' ELSE 'Open' END),
    'loanDate', instant(now() - interval '9 days'), 'dueDate', instant(now() + (n % 40) * interval '1 day'),
    'returnDate', CASE WHEN n > 1300 THEN instant(now() - interval '2 days') END,
    'itemStatus', CASE WHEN n % 50 = 0 THEN 'Declared lost' ELSE 'Checked out' END, 'renewalCount', n % 4,
    'checkoutServicePointId', '00000000-0000-4000-8000-000000000002'))
  FROM generate_series(1001, 1600) AS n;
INSERT INTO amrland_mod_circulation_storage.request (id, jsonb)
  SELECT id_of(40, n), jsonb_strip_nulls(jsonb_build_object('id', id_of(40, n),
    'requestType', CASE WHEN n % 10 = 0 THEN 'Recall' WHEN n % 2 = 0 THEN 'Page' ELSE 'Hold' END,
    'requesterId', id_of(10, 1001 + n % 300), 'requester', jsonb_build_object('lastName', 'CANARY'),
    -- Larger than what PostgreSQL keeps in the row itself.
    'patronComments', (SELECT string_agg(md5((n * i)::text), 'CANARY') FROM generate_series(1, 300) AS i),
    'status', (ARRAY['Open - Not yet filled', 'Open - In transit', 'Open - Awaiting pickup'])[1 + n % 3],
    'instance', jsonb_build_object('title', 'Titel ' || n), 'item', jsonb_build_object('barcode', 'b' || n),
    'holdShelfExpirationDate', CASE WHEN n % 3 = 2 THEN instant(now() + interval '7 days') END,
    'pickupServicePointId', '00000000-0000-4000-8000-000000000002'))
  FROM generate_series(1001, 1060) AS n;
INSERT INTO amrland_mod_feesfines.accounts (id, jsonb)
  SELECT id_of(50, n), jsonb_build_object('id', id_of(50, n), 'userId', id_of(10, 1001 + n % 300), 'title', 'Titel ' || n,
    'barcode', 'b' || n, 'amount', n * 0.05, 'remaining', n * 0.05, 'feeFineType',
    (ARRAY['Overdue fine', 'Lost item fee', 'Photocopies'])[1 + n % 3], 'status', jsonb_build_object('name', 'Open'),
    'paymentStatus', jsonb_build_object('name', 'Outstanding'))
  FROM generate_series(1001, 1100) AS n;

-- Two tenants of which nobody said REPLICA IDENTITY FULL; nobody knows the library of `elders`.
CREATE SCHEMA amrzee_mod_users;
CREATE SCHEMA amrzee_mod_circulation_storage;
CREATE TABLE amrzee_mod_users.users (LIKE amrland_mod_users.users INCLUDING ALL);
CREATE TABLE amrzee_mod_circulation_storage.loan (LIKE amrland_mod_circulation_storage.loan INCLUDING ALL);
CREATE TABLE amrzee_mod_circulation_storage.request (LIKE amrland_mod_circulation_storage.request INCLUDING ALL);
CREATE SCHEMA elders_mod_users;
CREATE SCHEMA elders_mod_feesfines;
CREATE TABLE elders_mod_users.users (LIKE amrland_mod_users.users INCLUDING ALL);
CREATE TABLE elders_mod_feesfines.accounts (LIKE amrland_mod_feesfines.accounts INCLUDING ALL);
GRANT USAGE ON SCHEMA amrzee_mod_users, amrzee_mod_circulation_storage, elders_mod_users, elders_mod_feesfines
  TO debezium;
GRANT SELECT ON ALL TABLES IN SCHEMA amrzee_mod_users, amrzee_mod_circulation_storage, elders_mod_users,
  elders_mod_feesfines TO debezium;
ALTER PUBLICATION zeef ADD TABLE amrzee_mod_users.users, amrzee_mod_circulation_storage.loan,
  amrzee_mod_circulation_storage.request, elders_mod_users.users, elders_mod_feesfines.accounts;
