-- What a week brings to the rows of folio_rows.sql, in the statements of FOLIO's modules.
UPDATE amrland_mod_circulation_storage.loan
  SET jsonb = jsonb || jsonb_build_object('renewalCount', (jsonb ->> 'renewalCount')::integer + 1,
    'dueDate', instant((jsonb ->> 'dueDate')::timestamptz + interval '21 days'))
  WHERE id BETWEEN id_of(30, 1001) AND id_of(30, 1100);
UPDATE amrland_mod_circulation_storage.loan
  SET jsonb = jsonb || jsonb_build_object('status', jsonb_build_object('name', 'Closed'), 'itemStatus', 'Available',
    'returnDate', instant(now()))
  WHERE id BETWEEN id_of(30, 1101) AND id_of(30, 1200);

-- Anonymised, after a while and at the check-in.
UPDATE amrland_mod_circulation_storage.loan SET jsonb = jsonb - 'userId'
  WHERE id BETWEEN id_of(30, 1301) AND id_of(30, 1400);
UPDATE amrland_mod_circulation_storage.loan
  SET jsonb = (jsonb || '{"status": {"name": "Closed"}}') - 'userId'
  WHERE id BETWEEN id_of(30, 1201) AND id_of(30, 1210);
DELETE FROM amrland_mod_circulation_storage.loan WHERE id BETWEEN id_of(30, 1401) AND id_of(30, 1410);

UPDATE amrland_mod_circulation_storage.request SET jsonb = jsonb - 'requesterId' - 'requester'
  WHERE id BETWEEN id_of(40, 1001) AND id_of(40, 1010);
UPDATE amrland_mod_circulation_storage.request
  SET jsonb = jsonb || jsonb_build_object('status', 'Open - Awaiting pickup',
    'holdShelfExpirationDate', instant(now() + interval '9 days'))
  WHERE id BETWEEN id_of(40, 1011) AND id_of(40, 1020);
UPDATE amrland_mod_circulation_storage.request SET jsonb = jsonb || '{"status": "Closed - Filled"}'
  WHERE id BETWEEN id_of(40, 1021) AND id_of(40, 1030);
-- A large record that does not change.
UPDATE amrland_mod_circulation_storage.request SET created_by = 'somebody'
  WHERE id BETWEEN id_of(40, 1031) AND id_of(40, 1040);

UPDATE amrland_mod_feesfines.accounts
  SET jsonb = jsonb || '{"remaining": 0.00, "status": {"name": "Closed"}, "paymentStatus": {"name": "Paid fully"}}'
  WHERE id BETWEEN id_of(50, 1001) AND id_of(50, 1020);
-- Handed over for collection: closed, and still owed.
UPDATE amrland_mod_feesfines.accounts
  SET jsonb = jsonb || '{"status": {"name": "Closed"}, "paymentStatus": {"name": "Transferred fully"}}'
  WHERE id BETWEEN id_of(50, 1021) AND id_of(50, 1040);

UPDATE amrland_mod_users.users
  SET jsonb = jsonb_set(jsonb, '{personal,lastName}', to_jsonb((jsonb #>> '{personal,lastName}') || '-Vink'))
  WHERE id BETWEEN id_of(10, 1001) AND id_of(10, 1050);
UPDATE amrland_mod_users.users SET jsonb = jsonb || '{"active": false}'
  WHERE id BETWEEN id_of(10, 1051) AND id_of(10, 1060);
UPDATE amrland_mod_users.users SET jsonb = jsonb || '{"type": "staff"}'
  WHERE id BETWEEN id_of(10, 1061) AND id_of(10, 1064);
DELETE FROM amrland_mod_users.users WHERE id BETWEEN id_of(10, 1071) AND id_of(10, 1090);
