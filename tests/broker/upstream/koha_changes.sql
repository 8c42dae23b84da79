-- What a week brings to the rows of koha_rows.sql, in the statements of Koha; many rows at a time, so that a
-- transaction is larger than what Connect reads at once.
UPDATE issues SET date_due = date_due + INTERVAL 21 DAY, renewals_count = renewals_count + 1
  WHERE issue_id BETWEEN 100001 AND 101000 AND issue_id % 4 = 0;

-- Check-ins.
START TRANSACTION;
UPDATE issues SET returndate = CONCAT(CURDATE() - INTERVAL 1 DAY, ' 16:40:03')
  WHERE issue_id BETWEEN 100001 AND 101000 AND issue_id % 5 = 0;
INSERT INTO old_issues SELECT * FROM issues
  WHERE issue_id BETWEEN 100001 AND 101000 AND issue_id % 5 = 0;
UPDATE old_issues SET borrowernumber = 1
  WHERE issue_id BETWEEN 100001 AND 101000 AND issue_id % 5 = 0
    AND borrowernumber IN (SELECT borrowernumber FROM borrowers WHERE privacy = 2);
DELETE FROM issues WHERE issue_id BETWEEN 100001 AND 101000 AND issue_id % 5 = 0;
COMMIT;

-- The nightly job that anonymises, to the anonymous patron and to nobody.
UPDATE old_issues SET borrowernumber = 1 WHERE issue_id BETWEEN 101001 AND 101200;
UPDATE old_issues SET borrowernumber = NULL WHERE issue_id BETWEEN 101201 AND 101250;

-- Borrowers: names, a move, staff that became a patron, and a patron that became staff.
UPDATE borrowers SET surname = CONCAT(surname, '-Vink'), email = NULL WHERE borrowernumber BETWEEN 100001 AND 100200;
UPDATE borrowers SET branchcode = 'AMRN', privacy = 2, dateexpiry = dateexpiry + INTERVAL 1 YEAR
  WHERE borrowernumber BETWEEN 100201 AND 100300;
UPDATE borrowers SET categorycode = 'VOLW' WHERE borrowernumber BETWEEN 100301 AND 100400 AND categorycode = 'PERS';
UPDATE borrowers SET categorycode = 'PERS' WHERE borrowernumber BETWEEN 100401 AND 100410;

-- Two borrowers that are one: what 100500 has goes to 100501.
START TRANSACTION;
UPDATE issues SET borrowernumber = 100501 WHERE borrowernumber = 100500;
UPDATE old_issues SET borrowernumber = 100501 WHERE borrowernumber = 100500;
UPDATE reserves SET borrowernumber = 100501 WHERE borrowernumber = 100500;
UPDATE accountlines SET borrowernumber = 100501 WHERE borrowernumber = 100500;
DELETE FROM borrowers WHERE borrowernumber = 100500;
COMMIT;

-- Deleted with all that a foreign key takes along or cuts off, which no message says.
DELETE FROM borrowers WHERE borrowernumber BETWEEN 100901 AND 100999
  AND borrowernumber NOT IN (SELECT borrowernumber FROM issues);

-- Holds that come to lie ready, are filled, and are cancelled.
UPDATE reserves SET found = 'W', priority = 0, waitingdate = CURDATE(), expirationdate = CURDATE() + INTERVAL 7 DAY
  WHERE reserve_id BETWEEN 100001 AND 100050 AND found IS NULL;
START TRANSACTION;
UPDATE reserves SET found = 'F', priority = 0 WHERE reserve_id BETWEEN 100051 AND 100100 AND found = 'W';
INSERT INTO old_reserves SELECT * FROM reserves WHERE reserve_id BETWEEN 100051 AND 100100 AND found = 'F';
DELETE FROM reserves WHERE reserve_id BETWEEN 100051 AND 100100 AND found = 'F';
COMMIT;
START TRANSACTION;
UPDATE reserves SET cancellationdate = CURDATE(), priority = 0 WHERE reserve_id BETWEEN 100101 AND 100120;
INSERT INTO old_reserves SELECT * FROM reserves WHERE reserve_id BETWEEN 100101 AND 100120;
DELETE FROM reserves WHERE reserve_id BETWEEN 100101 AND 100120;
COMMIT;

-- Debts that are paid, in part and whole, and one that was a mistake.
UPDATE accountlines SET amountoutstanding = amountoutstanding / 2
  WHERE accountlines_id BETWEEN 100001 AND 100199 AND accountlines_id % 4 = 0 AND amountoutstanding * 50 % 1 = 0;
UPDATE accountlines SET amountoutstanding = 0 WHERE accountlines_id BETWEEN 100101 AND 100130;
DELETE FROM accountlines WHERE accountlines_id = 100001;
