-- What zeef has to have made of the rows of folio_rows.sql as they are now, as plain SQL: views of JSON objects.
CREATE FUNCTION day_of(at text) RETURNS date LANGUAGE sql STABLE AS $$
  SELECT (at::timestamptz AT TIME ZONE 'Europe/Amsterdam')::date
$$;
CREATE FUNCTION second_of(at text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT to_char(at::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
$$;
CREATE FUNCTION is_own(id uuid) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT right(id::text, 12)::bigint BETWEEN 1001 AND 1600
$$;

CREATE VIEW patrons AS
SELECT id, 'NL-AmrBKW:' || id AS patron_id, jsonb, jsonb -> 'personal' AS personal,
  jsonb #> '{personal,addresses,1}' AS address
FROM amrland_mod_users.users WHERE is_own(id) AND jsonb ->> 'type' = 'patron';

CREATE VIEW expected_patron AS
SELECT jsonb_build_object('patron_id', patron_id, 'library', 'NL-AmrBKW', 'kind', 'person',
  'card_number', jsonb ->> 'barcode', 'given_name', personal ->> 'firstName',
  'surname_prefix', personal ->> 'middleName', 'surname', personal ->> 'lastName',
  'birth_date', left(personal ->> 'dateOfBirth', 10), 'email', personal ->> 'email', 'phone', personal ->> 'phone',
  'mobile', personal ->> 'mobilePhone',
  'address', jsonb_build_object('street', address ->> 'addressLine1', 'postcode', address ->> 'postalCode',
    'city', address ->> 'city', 'country', address ->> 'countryId'),
  'membership', jsonb_build_object('id', jsonb ->> 'barcode', 'starts_on', day_of(jsonb ->> 'enrollmentDate'),
    'ends_on', day_of(jsonb ->> 'expirationDate'),
    'status', CASE jsonb ->> 'active' WHEN 'true' THEN 'active' ELSE 'ended' END)) AS record
FROM patrons;

-- Of everybody else no record of any kind is live.
CREATE VIEW loans AS
SELECT loan.id, patron_id, loan.jsonb, item.jsonb ->> 'barcode' AS barcode,
  instance.jsonb AS instance
FROM amrland_mod_circulation_storage.loan AS loan
  JOIN patrons ON patrons.id::text = loan.jsonb ->> 'userId'
  JOIN amrland_mod_inventory_storage.item AS item ON item.id::text = loan.jsonb ->> 'itemId'
  JOIN amrland_mod_inventory_storage.holdings_record AS holding ON holding.id::text = item.jsonb ->> 'holdingsRecordId'
  JOIN amrland_mod_inventory_storage.instance AS instance ON instance.id::text = holding.jsonb ->> 'instanceId'
WHERE is_own(loan.id);

CREATE VIEW expected_loan AS
SELECT jsonb_build_object('loan_id', id, 'patron_id', patron_id, 'library', 'NL-AmrBKW',
  'item', jsonb_build_object('barcode', barcode, 'title', instance ->> 'title',
    'author', CASE (instance #>> '{contributors,0,primary}') WHEN 'true' THEN instance #>> '{contributors,0,name}' END,
    'material', 'boek', 'isbn', instance #>> '{identifiers,0,value}'),
  'branch', 'Centrale', 'loaned_at', second_of(jsonb ->> 'loanDate'), 'due_on', day_of(jsonb ->> 'dueDate'),
  'returned_at', second_of(jsonb ->> 'returnDate'),
  'status', CASE WHEN jsonb ->> 'itemStatus' = 'Declared lost' THEN 'lost' WHEN jsonb #>> '{status,name}' = 'Open'
    THEN 'open' ELSE 'returned' END,
  'renewals', (jsonb ->> 'renewalCount')::integer) AS record
FROM loans;

CREATE VIEW expected_reservation AS
SELECT jsonb_build_object('reservation_id', held.id, 'patron_id', patron_id, 'library', 'NL-AmrBKW',
  'item', jsonb_build_object('barcode', held.jsonb #>> '{item,barcode}', 'title', held.jsonb #>> '{instance,title}'),
  'pickup_branch', 'Centrale',
  'status', CASE held.jsonb ->> 'status' WHEN 'Open - Not yet filled' THEN 'placed' WHEN 'Open - In transit' THEN 'in_transit'
    WHEN 'Open - Awaiting pickup' THEN 'ready_for_pickup' WHEN 'Closed - Filled' THEN 'collected' END,
  'expires_on', day_of(held.jsonb ->> 'holdShelfExpirationDate')) AS record
FROM amrland_mod_circulation_storage.request AS held JOIN patrons ON patrons.id::text = held.jsonb ->> 'requesterId'
WHERE is_own(held.id) AND held.jsonb ->> 'requestType' IN ('Hold', 'Page');

CREATE VIEW expected_debt AS
SELECT jsonb_build_object('debt_id', account.id, 'patron_id', patron_id, 'library', 'NL-AmrBKW',
  'kind', CASE account.jsonb ->> 'feeFineType' WHEN 'Overdue fine' THEN 'late' ELSE 'lost' END,
  'items', jsonb_build_array(jsonb_build_object('title', account.jsonb ->> 'title',
    'barcode', account.jsonb ->> 'barcode',
    'amount_cents', ((account.jsonb ->> 'remaining')::numeric * 100)::integer)),
  'amount_cents', ((account.jsonb ->> 'remaining')::numeric * 100)::integer, 'currency', 'EUR',
  'status', CASE account.jsonb #>> '{paymentStatus,name}' WHEN 'Paid fully' THEN 'settled' ELSE 'open' END) AS record
FROM amrland_mod_feesfines.accounts AS account JOIN patrons ON patrons.id::text = account.jsonb ->> 'userId'
WHERE is_own(account.id) AND account.jsonb ->> 'feeFineType' IN ('Overdue fine', 'Lost item fee');

-- What two recipients have.
CREATE VIEW expected_service_message AS
SELECT jsonb_build_object('name', concat_ws(' ', personal ->> 'middleName', personal ->> 'lastName'),
  'email', personal ->> 'email', 'mobile', personal ->> 'mobilePhone', 'title', instance ->> 'title',
  'due_on', day_of(loans.jsonb ->> 'dueDate'), 'branch', 'Centrale') AS record
FROM loans JOIN patrons USING (patron_id)
WHERE loans.jsonb #>> '{status,name}' = 'Open' AND loans.jsonb ->> 'itemStatus' <> 'Declared lost';

CREATE VIEW expected_kb_recognition AS
SELECT jsonb_build_object('member_ref', jsonb ->> 'barcode', 'card_number', jsonb ->> 'barcode', 'library', 'NL-AmrBKW',
  'valid_from', day_of(jsonb ->> 'enrollmentDate'), 'valid_until', day_of(jsonb ->> 'expirationDate'),
  'birth_year', left(personal ->> 'dateOfBirth', 4)) AS record
FROM patrons WHERE jsonb ->> 'active' = 'true';
