-- The connector's user on Koha's MariaDB, and no right beside those it needs. Replace host and password.

CREATE USER 'debezium'@'connect.example.org' IDENTIFIED BY 'change-me';

-- To follow the binary log, and for the short lock under which a snapshot reads the definitions of tables. They are
-- global by nature: the right to follow the log is a right to all of it, so what keeps other columns out of Kafka is
-- column.include.list of the connector.
GRANT REPLICATION SLAVE, BINLOG MONITOR, RELOAD ON *.* TO 'debezium'@'connect.example.org';

-- For the snapshot: the columns of the mapping. REFERENCES lets it see a table's definition, and no row.
GRANT REFERENCES, SELECT (branchcode, branchname, marcorgcode)
  ON koha_library.branches TO 'debezium'@'connect.example.org';
GRANT REFERENCES, SELECT (categorycode, category_type, description, enrolmentfee)
  ON koha_library.categories TO 'debezium'@'connect.example.org';
GRANT REFERENCES, SELECT (biblionumber, author, title)
  ON koha_library.biblio TO 'debezium'@'connect.example.org';
GRANT REFERENCES, SELECT (biblioitemnumber, biblionumber, isbn)
  ON koha_library.biblioitems TO 'debezium'@'connect.example.org';
GRANT REFERENCES, SELECT (itemnumber, barcode, biblionumber, itype)
  ON koha_library.items TO 'debezium'@'connect.example.org';
GRANT REFERENCES, SELECT (illrequest_id, type, value)
  ON koha_library.illrequestattributes TO 'debezium'@'connect.example.org';
GRANT REFERENCES, SELECT (borrowernumber, address, address2, anonymized, branchcode, cardnumber, categorycode,
  city, dateenrolled, dateexpiry, dateofbirth, email, firstname, initials, middle_name, mobile, phone,
  privacy, sex, smsalertnumber, streetnumber, surname, updated_on, zipcode)
  ON koha_library.borrowers TO 'debezium'@'connect.example.org';
GRANT REFERENCES, SELECT (issue_id, borrowernumber, branchcode, date_due, issuedate, itemnumber,
  renewals_count, returndate)
  ON koha_library.issues TO 'debezium'@'connect.example.org';
GRANT REFERENCES, SELECT (issue_id, borrowernumber, branchcode, date_due, issuedate, itemnumber,
  renewals_count, returndate)
  ON koha_library.old_issues TO 'debezium'@'connect.example.org';
GRANT REFERENCES, SELECT (reserve_id, biblionumber, borrowernumber, branchcode, cancellationdate,
  expirationdate, found, itemnumber, waitingdate)
  ON koha_library.reserves TO 'debezium'@'connect.example.org';
GRANT REFERENCES, SELECT (reserve_id, biblionumber, borrowernumber, branchcode, cancellationdate,
  expirationdate, found, itemnumber, waitingdate)
  ON koha_library.old_reserves TO 'debezium'@'connect.example.org';
GRANT REFERENCES, SELECT (accountlines_id, amountoutstanding, borrowernumber, debit_type_code, itemnumber)
  ON koha_library.accountlines TO 'debezium'@'connect.example.org';
GRANT REFERENCES, SELECT (id, borrowernumber, given_on, refused_on, type)
  ON koha_library.patron_consent TO 'debezium'@'connect.example.org';
GRANT REFERENCES, SELECT (illrequest_id, borrowernumber, branchcode, medium, status)
  ON koha_library.illrequests TO 'debezium'@'connect.example.org';
