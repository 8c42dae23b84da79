-- What zeef has to have made of the rows of koha_rows.sql as they are now, as plain SQL: views of JSON objects.
SET time_zone = '+00:00';

CREATE OR REPLACE VIEW expected_patron AS
SELECT JSON_OBJECT(
  'patron_id', CONCAT('NL-AmrBKW:', borrowernumber), 'library', marcorgcode,
  'kind', IF(category_type IN ('I', 'O'), 'institution', 'person'),
  'card_number', cardnumber, 'initials', initials, 'given_name', firstname, 'surname_prefix', middle_name,
  'surname', surname, 'birth_date', dateofbirth, 'gender', sex, 'email', email, 'phone', phone,
  'mobile', COALESCE(mobile, smsalertnumber),
  'address', JSON_OBJECT('street', address, 'house_number', streetnumber, 'house_number_suffix', address2,
    'postcode', zipcode, 'city', city),
  'membership', JSON_OBJECT('id', CONCAT(borrowernumber), 'type', description, 'starts_on', dateenrolled,
    'ends_on', dateexpiry, 'status', 'active', 'home_branch', branchname,
    'fee_cents', CAST(enrolmentfee * 100 AS INTEGER), 'currency', 'EUR'),
  'loan_history', JSON_EXTRACT(IF(privacy = 2, 'false', 'true'), '$'),
  'updated_at', DATE_FORMAT(updated_on, '%Y-%m-%dT%H:%i:%sZ')) AS record
FROM borrowers JOIN categories USING (categorycode) JOIN branches USING (branchcode)
WHERE borrowernumber BETWEEN 100001 AND 101000 AND category_type NOT IN ('S', 'X');

-- Of everybody else no record of any kind is live.
CREATE OR REPLACE VIEW patrons AS
SELECT borrowernumber FROM borrowers JOIN categories USING (categorycode) WHERE category_type NOT IN ('S', 'X');

CREATE OR REPLACE VIEW all_issues AS
SELECT issue_id, borrowernumber, itemnumber, date_due, branchcode, returndate, renewals_count, issuedate FROM issues
UNION ALL
SELECT issue_id, borrowernumber, itemnumber, date_due, branchcode, returndate, renewals_count, issuedate FROM old_issues;

CREATE OR REPLACE VIEW expected_loan AS
SELECT JSON_OBJECT(
  'loan_id', CONCAT('koha-', issue_id), 'patron_id', CONCAT('NL-AmrBKW:', borrowernumber), 'library', marcorgcode,
  'item', JSON_OBJECT('barcode', barcode, 'title', title, 'author', author, 'material', itype, 'isbn', isbn),
  'branch', branchname, 'loaned_at', CONVERT_TZ(issuedate, 'SYSTEM', '+00:00'), 'due_on', DATE(date_due),
  'returned_at', CONVERT_TZ(returndate, 'SYSTEM', '+00:00'), 'status', IF(returndate IS NULL, 'open', 'returned'),
  'renewals', renewals_count) AS record
FROM all_issues JOIN patrons USING (borrowernumber) JOIN branches USING (branchcode) JOIN items USING (itemnumber)
  JOIN biblio USING (biblionumber) JOIN biblioitems USING (biblionumber)
WHERE issue_id BETWEEN 100001 AND 102000;

CREATE OR REPLACE VIEW all_reserves AS
SELECT reserve_id, borrowernumber, biblionumber, branchcode, itemnumber, cancellationdate, found, waitingdate,
  expirationdate FROM reserves
UNION ALL
SELECT reserve_id, borrowernumber, biblionumber, branchcode, itemnumber, cancellationdate, found, waitingdate,
  expirationdate FROM old_reserves;

CREATE OR REPLACE VIEW expected_reservation AS
SELECT JSON_OBJECT(
  'reservation_id', CONCAT('koha-', reserve_id), 'patron_id', CONCAT('NL-AmrBKW:', borrowernumber),
  'library', marcorgcode, 'item', JSON_OBJECT('barcode', barcode, 'title', title, 'author', author),
  'pickup_branch', branchname,
  'status', CASE WHEN cancellationdate IS NOT NULL THEN 'cancelled' WHEN found IS NULL THEN 'placed'
    WHEN found = 'W' THEN 'ready_for_pickup' WHEN found = 'F' THEN 'collected' ELSE 'in_transit' END,
  'ready_at', CONVERT_TZ(TIMESTAMP(waitingdate), 'SYSTEM', '+00:00'),
  'expires_on', IF(found = 'W', expirationdate, NULL)) AS record
FROM all_reserves AS held JOIN patrons USING (borrowernumber) JOIN branches USING (branchcode) JOIN biblio USING (biblionumber)
  LEFT JOIN items ON items.itemnumber = held.itemnumber
WHERE reserve_id BETWEEN 100001 AND 100200;

CREATE OR REPLACE VIEW expected_debt AS
SELECT JSON_OBJECT(
  'debt_id', CONCAT('koha-', accountlines_id), 'patron_id', CONCAT('NL-AmrBKW:', borrowernumber),
  'library', 'NL-AmrBKW', 'kind', IF(debit_type_code = 'LOST', 'lost', 'late'),
  'items', JSON_ARRAY(JSON_OBJECT('title', title, 'barcode', barcode,
    'amount_cents', CAST(amountoutstanding * 100 AS INTEGER))),
  'amount_cents', CAST(amountoutstanding * 100 AS INTEGER), 'currency', 'EUR',
  'status', IF(amountoutstanding = 0, 'settled', 'open')) AS record
FROM accountlines JOIN patrons USING (borrowernumber) JOIN items USING (itemnumber) JOIN biblio USING (biblionumber)
WHERE accountlines_id BETWEEN 100001 AND 100200 AND debit_type_code IN ('OVERDUE', 'LOST');

-- What two recipients have.
CREATE OR REPLACE VIEW expected_service_message AS
SELECT JSON_OBJECT(
  'name', CONCAT_WS(' ', initials, middle_name, surname), 'email', email, 'mobile', COALESCE(mobile, smsalertnumber),
  'title', biblio.title, 'due_on', DATE(date_due), 'branch', branchname) AS record
FROM issues JOIN patrons USING (borrowernumber) JOIN borrowers USING (borrowernumber) JOIN items USING (itemnumber)
  JOIN biblio USING (biblionumber) JOIN branches ON branches.branchcode = issues.branchcode
WHERE issue_id BETWEEN 100001 AND 101000 AND returndate IS NULL;

CREATE OR REPLACE VIEW expected_kb_recognition AS
SELECT JSON_OBJECT(
  'member_ref', CONCAT(borrowernumber), 'card_number', cardnumber, 'library', marcorgcode,
  'membership_type', description, 'valid_from', dateenrolled, 'valid_until', dateexpiry,
  'birth_year', CONCAT(YEAR(dateofbirth))) AS record
FROM borrowers JOIN categories USING (categorycode) JOIN branches USING (branchcode)
WHERE borrowernumber BETWEEN 100001 AND 101000 AND category_type NOT IN ('S', 'X', 'I', 'O');
