-- The tables of FOLIO that zeef reads, for a PostgreSQL of one's own and the invented tenant amrland: FOLIO's modules keep
-- each record as jsonb in a table of this form. Then a few invented rows, at least one for each table, as a connector
-- creates a topic with its first row.

CREATE FUNCTION pg_temp.create_module(module text, tables text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  one text;
BEGIN
  EXECUTE format('CREATE SCHEMA amrland_%s', module);
  FOREACH one IN ARRAY tables LOOP
    EXECUTE format('CREATE TABLE amrland_%s.%s (id uuid PRIMARY KEY, jsonb jsonb NOT NULL,
      creation_date timestamp without time zone, created_by text)', module, one);
  END LOOP;
END $$;

SELECT pg_temp.create_module('mod_users', ARRAY['users']);
SELECT pg_temp.create_module('mod_circulation_storage', ARRAY['loan', 'request']);
SELECT pg_temp.create_module('mod_feesfines', ARRAY['accounts']);
SELECT pg_temp.create_module('mod_inventory_storage',
  ARRAY['material_type', 'service_point', 'instance', 'holdings_record', 'item']);

-- Foreign keys of FOLIO stay within a module; none of them deletes anything.
ALTER TABLE amrland_mod_inventory_storage.holdings_record
  ADD COLUMN instanceid uuid REFERENCES amrland_mod_inventory_storage.instance;
ALTER TABLE amrland_mod_inventory_storage.item
  ADD COLUMN holdingsrecordid uuid REFERENCES amrland_mod_inventory_storage.holdings_record,
  ADD COLUMN materialtypeid uuid REFERENCES amrland_mod_inventory_storage.material_type;

INSERT INTO amrland_mod_inventory_storage.material_type (id, jsonb, creation_date) VALUES
  ('00000000-0000-4000-8000-000000000001', '{"id": "00000000-0000-4000-8000-000000000001", "name": "boek"}', now());
INSERT INTO amrland_mod_inventory_storage.service_point (id, jsonb, creation_date) VALUES
  ('00000000-0000-4000-8000-000000000002', '{"id": "00000000-0000-4000-8000-000000000002", "name": "Centrale",
    "code": "AMRC", "pickupLocation": true}', now());
INSERT INTO amrland_mod_inventory_storage.instance (id, jsonb, creation_date) VALUES
  ('00000000-0000-4000-8000-000000000101', '{"id": "00000000-0000-4000-8000-000000000101", "title": "Hoogwater",
    "contributors": [{"name": "Bakker, T.", "primary": false}, {"name": "Winter, Mila", "primary": true}],
    "identifiers": [{"value": "9799978775041", "identifierTypeId": "8261054f-be78-422d-bd51-4ed9f33c3422"}]}', now());
INSERT INTO amrland_mod_inventory_storage.holdings_record (id, jsonb, creation_date, instanceid) VALUES
  ('00000000-0000-4000-8000-000000000201', '{"id": "00000000-0000-4000-8000-000000000201",
    "instanceId": "00000000-0000-4000-8000-000000000101"}', now(), '00000000-0000-4000-8000-000000000101');
INSERT INTO amrland_mod_inventory_storage.item (id, jsonb, creation_date, holdingsrecordid, materialtypeid) VALUES
  ('00000000-0000-4000-8000-000000000301', '{"id": "00000000-0000-4000-8000-000000000301", "barcode": "30010000000301",
    "holdingsRecordId": "00000000-0000-4000-8000-000000000201", "materialTypeId": "00000000-0000-4000-8000-000000000001",
    "status": {"name": "Checked out"}}', now(), '00000000-0000-4000-8000-000000000201',
   '00000000-0000-4000-8000-000000000001');

INSERT INTO amrland_mod_users.users (id, jsonb, creation_date) VALUES
  ('00000000-0000-4000-8000-000000000010', jsonb_build_object('id', '00000000-0000-4000-8000-000000000010',
    'username', 'roos.zwaluw', 'barcode', '20010000000010', 'active', true, 'type', 'patron',
    'personal', jsonb_build_object('lastName', 'Zwaluw', 'firstName', 'Roos', 'middleName', 'van der',
      'email', 'roos.zwaluw@example.org', 'mobilePhone', '06-00000000', 'dateOfBirth', '1985-07-30T00:00:00.000+00:00',
      'addresses', jsonb_build_array(jsonb_build_object('countryId', 'NL', 'addressLine1', 'Veldzicht 12',
        'city', 'Alkmaar', 'postalCode', '1811 AB', 'primaryAddress', true))),
    'enrollmentDate', '2024-03-01T00:00:00.000+00:00', 'expirationDate', now() + interval '300 days'), now());
-- Who works at the desk is no patron.
INSERT INTO amrland_mod_users.users (id, jsonb, creation_date) VALUES
  ('00000000-0000-4000-8000-000000000002', '{"id": "00000000-0000-4000-8000-000000000002", "username": "balie",
    "type": "staff", "active": true, "personal": {"lastName": "Balie"}}', now());
INSERT INTO amrland_mod_circulation_storage.loan (id, jsonb, creation_date) VALUES
  ('00000000-0000-4000-8000-000000000401', jsonb_build_object('id', '00000000-0000-4000-8000-000000000401',
    'userId', '00000000-0000-4000-8000-000000000010', 'itemId', '00000000-0000-4000-8000-000000000301',
    'status', jsonb_build_object('name', 'Open'), 'loanDate', now(), 'dueDate', now() + interval '21 days',
    'action', 'checkedout', 'itemStatus', 'Checked out', 'renewalCount', 0,
    'checkoutServicePointId', '00000000-0000-4000-8000-000000000002'), now());
INSERT INTO amrland_mod_circulation_storage.request (id, jsonb, creation_date) VALUES
  ('00000000-0000-4000-8000-000000000501', jsonb_build_object('id', '00000000-0000-4000-8000-000000000501',
    'requestType', 'Hold', 'requestDate', now() - interval '3 days',
    'requesterId', '00000000-0000-4000-8000-000000000010', 'status', 'Open - Awaiting pickup',
    'instance', jsonb_build_object('title', 'Hoogwater'), 'item', jsonb_build_object('barcode', '30010000000301'),
    'holdShelfExpirationDate', now() + interval '7 days',
    'pickupServicePointId', '00000000-0000-4000-8000-000000000002'), now());
INSERT INTO amrland_mod_feesfines.accounts (id, jsonb, creation_date) VALUES
  ('00000000-0000-4000-8000-000000000601', jsonb_build_object('id', '00000000-0000-4000-8000-000000000601',
    'userId', '00000000-0000-4000-8000-000000000010', 'amount', 2.5, 'remaining', 2.5, 'title', 'Hoogwater',
    'barcode', '30010000000301', 'feeFineType', 'Overdue fine', 'status', jsonb_build_object('name', 'Open'),
    'paymentStatus', jsonb_build_object('name', 'Outstanding')), now());
