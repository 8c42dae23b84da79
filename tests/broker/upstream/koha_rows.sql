-- A thousand borrowers with loans, old loans, holds and debts: numbers from 100001 on. Nothing lies near a change of the
-- clock, as SQL has its own idea of the double hour.
INSERT INTO biblio (biblionumber, author, title, datecreated)
  SELECT 100000 + seq, IF(seq % 7 = 0, NULL, CONCAT('Auteur ', seq)), CONCAT('Titel ', seq), '2026-01-05'
  FROM seq_1_to_200;
INSERT INTO biblioitems (biblioitemnumber, biblionumber, itemtype, isbn)
  SELECT 100000 + seq, 100000 + seq, 'BOEK', IF(seq % 3 = 0, NULL, CONCAT('979', LPAD(seq, 10, '0'))) FROM seq_1_to_200;
INSERT INTO items (itemnumber, biblionumber, biblioitemnumber, barcode, homebranch, itype)
  SELECT 100000 + seq, 100001 + seq % 200, 100001 + seq % 200, CONCAT('3002', LPAD(seq, 10, '0')),
    IF(seq % 2 = 0, 'AMRC', 'AMRN'), IF(seq % 11 = 0, 'DVD', 'BOEK')
  FROM seq_1_to_2000;

INSERT INTO borrowers (borrowernumber, cardnumber, surname, middle_name, firstname, initials, address, streetnumber,
                       address2, zipcode, city, email, phone, mobile, smsalertnumber, dateofbirth, sex, branchcode,
                       categorycode, dateenrolled, dateexpiry, privacy, password, secret)
  SELECT 100000 + seq, CONCAT('2002', LPAD(seq, 10, '0')), CONCAT(IF(seq % 8 = 0, 'Fûtentsje ', 'Merel '), seq),
    IF(seq % 4 = 0, 'van der', NULL), CONCAT('Noor ', seq), IF(seq % 10 = 0, NULL, 'N.'),
    CONCAT('Kade ', seq), seq, IF(seq % 12 = 0, 'bus 3', ''), '1811 CD', 'Alkmaar',
    IF(seq % 9 = 0, NULL, CONCAT('p', seq, '@example.org')), IF(seq % 5 = 0, '06-00000000', NULL),
    IF(seq % 6 = 0, '0600000000', NULL), IF(seq % 13 = 0, '06 0000 0000', NULL),
    IF(seq % 50 = 0, '1899-12-31', '1930-01-01' + INTERVAL seq * 30 DAY), IF(seq % 2 = 0, 'F', NULL),
    IF(seq % 3 = 0, 'AMRN', 'AMRC'), CASE WHEN seq % 25 = 0 THEN 'PERS' WHEN seq % 20 = 1 THEN 'SCHOOL' ELSE 'VOLW' END,
    '2020-01-01' + INTERVAL seq DAY, IF(seq % 100 = 0, NULL, CURDATE() + INTERVAL 10 + seq % 700 DAY), seq % 3,
    'CANARY-hash', 'CANARY-secret'
  FROM seq_1_to_1000;

INSERT INTO issues (issue_id, borrowernumber, issuer_id, itemnumber, date_due, branchcode, renewals_count, issuedate)
  SELECT 100000 + seq, 100001 + (seq * 7) % 1000, 2, 100000 + seq, CONCAT(CURDATE() + INTERVAL seq % 40 DAY, ' 23:59:00'),
    IF(seq % 2 = 0, 'AMRC', 'AMRN'), seq % 5, CONCAT(CURDATE() - INTERVAL seq % 40 DAY, ' 12:34:56')
  FROM seq_1_to_1000;
INSERT INTO old_issues (issue_id, borrowernumber, issuer_id, itemnumber, date_due, branchcode, returndate,
                        renewals_count, issuedate)
  SELECT 101000 + seq, CASE WHEN seq % 10 = 0 THEN NULL WHEN seq % 10 = 1 THEN 1 ELSE 100001 + (seq * 3) % 1000 END, 2,
    101000 + seq, CONCAT(CURDATE() - INTERVAL 50 DAY, ' 23:59:00'), 'AMRC',
    CONCAT(CURDATE() - INTERVAL seq % 60 + 5 DAY, ' 16:40:03'), 0, CONCAT(CURDATE() - INTERVAL 80 DAY, ' 09:00:00')
  FROM seq_1_to_1000;
INSERT INTO reserves (reserve_id, borrowernumber, reservedate, biblionumber, branchcode, priority, found, itemnumber,
                      waitingdate, expirationdate)
  SELECT 100000 + seq, 100001 + (seq * 11) % 1000, CURDATE() - INTERVAL 9 DAY, 100001 + seq % 200, 'AMRN', 1,
    ELT(1 + seq % 4, NULL, 'W', 'T', 'P'), IF(seq % 4 = 0, NULL, 100001 + seq), IF(seq % 4 = 1, CURDATE(), NULL),
    IF(seq % 4 = 1, CURDATE() + INTERVAL 7 DAY, NULL)
  FROM seq_1_to_200;
INSERT INTO accountlines (accountlines_id, borrowernumber, itemnumber, date, amount, debit_type_code, status,
                          amountoutstanding, interface, branchcode)
  SELECT 100000 + seq, IF(seq % 20 = 0, NULL, 100001 + (seq * 13) % 1000), 101000 + seq, NOW(), seq * 1.25,
    ELT(1 + seq % 3, 'OVERDUE', 'LOST', 'RENT'), 'RETURNED', IF(seq % 6 = 0, 0, seq * 1.25), 'intranet', 'AMRC'
  FROM seq_1_to_200;
