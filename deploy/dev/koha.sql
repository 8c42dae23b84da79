-- The tables of Koha that zeef reads, for a MariaDB of one's own: names, types, defaults, keys and what foreign keys do
-- on a deletion are Koha's; columns that neither the mapping nor a test needs are left out. Then a few invented rows, at
-- least one for each table, as a connector creates a topic with its first row.

-- Koha runs without a strict mode.
SET SESSION sql_mode = '';

CREATE DATABASE koha_library CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
USE koha_library;

CREATE TABLE branches (
  branchcode varchar(10) NOT NULL DEFAULT '',
  branchname longtext NOT NULL,
  marcorgcode varchar(16) DEFAULT NULL,
  PRIMARY KEY (branchcode)
);

CREATE TABLE categories (
  categorycode varchar(10) NOT NULL DEFAULT '',
  description longtext DEFAULT NULL,
  enrolmentfee decimal(28,6) DEFAULT NULL,
  category_type varchar(1) NOT NULL DEFAULT 'A',
  default_privacy enum('default', 'never', 'forever') NOT NULL DEFAULT 'default',
  PRIMARY KEY (categorycode)
);

-- With the columns that must never leave the database: password, secret, borrowernotes, overdrive_auth_token.
CREATE TABLE borrowers (
  borrowernumber int(11) NOT NULL AUTO_INCREMENT,
  cardnumber varchar(32) DEFAULT NULL,
  surname longtext DEFAULT NULL,
  firstname mediumtext DEFAULT NULL,
  middle_name longtext DEFAULT NULL,
  title longtext DEFAULT NULL,
  initials mediumtext DEFAULT NULL,
  streetnumber tinytext DEFAULT NULL,
  address longtext DEFAULT NULL,
  address2 mediumtext DEFAULT NULL,
  city longtext DEFAULT NULL,
  zipcode tinytext DEFAULT NULL,
  country mediumtext DEFAULT NULL,
  email longtext DEFAULT NULL,
  phone mediumtext DEFAULT NULL,
  mobile tinytext DEFAULT NULL,
  dateofbirth date DEFAULT NULL,
  branchcode varchar(10) NOT NULL DEFAULT '',
  categorycode varchar(10) NOT NULL DEFAULT '',
  dateenrolled date DEFAULT NULL,
  dateexpiry date DEFAULT NULL,
  gonenoaddress tinyint(1) DEFAULT NULL,
  lost tinyint(1) DEFAULT NULL,
  debarred date DEFAULT NULL,
  borrowernotes longtext DEFAULT NULL,
  sex varchar(1) DEFAULT NULL,
  password varchar(60) DEFAULT NULL,
  secret mediumtext DEFAULT NULL,
  flags bigint(11) DEFAULT NULL,
  userid varchar(75) DEFAULT NULL,
  smsalertnumber varchar(50) DEFAULT NULL,
  privacy int(11) NOT NULL DEFAULT 1,
  updated_on timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),
  lastseen datetime DEFAULT NULL,
  lang varchar(25) NOT NULL DEFAULT 'default',
  overdrive_auth_token mediumtext DEFAULT NULL,
  anonymized tinyint(1) NOT NULL DEFAULT 0,
  autorenew_checkouts tinyint(1) NOT NULL DEFAULT 1,
  PRIMARY KEY (borrowernumber),
  UNIQUE KEY cardnumber (cardnumber),
  UNIQUE KEY userid (userid),
  FOREIGN KEY (categorycode) REFERENCES categories (categorycode),
  FOREIGN KEY (branchcode) REFERENCES branches (branchcode)
);

-- Whole people, without a key, until a job of Koha's removes them: no table for a connector.
CREATE TABLE deletedborrowers AS SELECT * FROM borrowers WHERE FALSE;

CREATE TABLE biblio (
  biblionumber int(11) NOT NULL AUTO_INCREMENT,
  author longtext DEFAULT NULL,
  title longtext DEFAULT NULL,
  timestamp timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),
  datecreated date NOT NULL,
  PRIMARY KEY (biblionumber)
);

CREATE TABLE biblioitems (
  biblioitemnumber int(11) NOT NULL AUTO_INCREMENT,
  biblionumber int(11) NOT NULL DEFAULT 0,
  itemtype varchar(10) DEFAULT NULL,
  isbn longtext DEFAULT NULL,
  issn longtext DEFAULT NULL,
  PRIMARY KEY (biblioitemnumber),
  FOREIGN KEY (biblionumber) REFERENCES biblio (biblionumber) ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TABLE items (
  itemnumber int(11) NOT NULL AUTO_INCREMENT,
  biblionumber int(11) NOT NULL DEFAULT 0,
  biblioitemnumber int(11) NOT NULL DEFAULT 0,
  barcode varchar(20) DEFAULT NULL,
  homebranch varchar(10) DEFAULT NULL,
  itype varchar(10) DEFAULT NULL,
  itemlost tinyint(1) NOT NULL DEFAULT 0,
  damaged tinyint(1) NOT NULL DEFAULT 0,
  PRIMARY KEY (itemnumber),
  UNIQUE KEY itembarcodeidx (barcode),
  FOREIGN KEY (biblioitemnumber) REFERENCES biblioitems (biblioitemnumber) ON DELETE CASCADE ON UPDATE CASCADE,
  FOREIGN KEY (homebranch) REFERENCES branches (branchcode) ON UPDATE CASCADE
);

-- A borrower with an open loan cannot be deleted: its foreign key has no ON DELETE.
CREATE TABLE issues (
  issue_id int(11) NOT NULL AUTO_INCREMENT,
  borrowernumber int(11) NOT NULL,
  issuer_id int(11) DEFAULT NULL,
  itemnumber int(11) NOT NULL,
  date_due datetime DEFAULT NULL,
  branchcode varchar(10) DEFAULT NULL,
  returndate datetime DEFAULT NULL,
  lastreneweddate datetime DEFAULT NULL,
  renewals_count tinyint(4) NOT NULL DEFAULT 0,
  auto_renew tinyint(1) DEFAULT 0,
  timestamp timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),
  issuedate datetime DEFAULT NULL,
  onsite_checkout int(1) NOT NULL DEFAULT 0,
  note longtext DEFAULT NULL,
  PRIMARY KEY (issue_id),
  UNIQUE KEY itemnumber (itemnumber),
  FOREIGN KEY (borrowernumber) REFERENCES borrowers (borrowernumber) ON UPDATE CASCADE,
  FOREIGN KEY (itemnumber) REFERENCES items (itemnumber) ON UPDATE CASCADE,
  FOREIGN KEY (issuer_id) REFERENCES borrowers (borrowernumber) ON DELETE SET NULL ON UPDATE CASCADE
);

CREATE TABLE old_issues (
  issue_id int(11) NOT NULL,
  borrowernumber int(11) DEFAULT NULL,
  issuer_id int(11) DEFAULT NULL,
  itemnumber int(11) DEFAULT NULL,
  date_due datetime DEFAULT NULL,
  branchcode varchar(10) DEFAULT NULL,
  returndate datetime DEFAULT NULL,
  lastreneweddate datetime DEFAULT NULL,
  renewals_count tinyint(4) NOT NULL DEFAULT 0,
  auto_renew tinyint(1) DEFAULT 0,
  timestamp timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),
  issuedate datetime DEFAULT NULL,
  onsite_checkout int(1) NOT NULL DEFAULT 0,
  note longtext DEFAULT NULL,
  PRIMARY KEY (issue_id),
  FOREIGN KEY (borrowernumber) REFERENCES borrowers (borrowernumber) ON DELETE SET NULL ON UPDATE SET NULL,
  FOREIGN KEY (itemnumber) REFERENCES items (itemnumber) ON DELETE SET NULL ON UPDATE SET NULL,
  FOREIGN KEY (issuer_id) REFERENCES borrowers (borrowernumber) ON DELETE SET NULL ON UPDATE CASCADE
);

CREATE TABLE reserves (
  reserve_id int(11) NOT NULL AUTO_INCREMENT,
  borrowernumber int(11) NOT NULL DEFAULT 0,
  reservedate date DEFAULT NULL,
  biblionumber int(11) NOT NULL DEFAULT 0,
  branchcode varchar(10) DEFAULT NULL,
  cancellationdate date DEFAULT NULL,
  cancellation_reason varchar(80) DEFAULT NULL,
  priority smallint(6) NOT NULL DEFAULT 1,
  found varchar(1) DEFAULT NULL,
  timestamp timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),
  itemnumber int(11) DEFAULT NULL,
  waitingdate date DEFAULT NULL,
  expirationdate date DEFAULT NULL,
  patron_expiration_date date DEFAULT NULL,
  suspend tinyint(1) NOT NULL DEFAULT 0,
  PRIMARY KEY (reserve_id),
  FOREIGN KEY (borrowernumber) REFERENCES borrowers (borrowernumber) ON DELETE CASCADE ON UPDATE CASCADE,
  FOREIGN KEY (biblionumber) REFERENCES biblio (biblionumber) ON DELETE CASCADE ON UPDATE CASCADE,
  FOREIGN KEY (itemnumber) REFERENCES items (itemnumber) ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TABLE old_reserves (
  reserve_id int(11) NOT NULL,
  borrowernumber int(11) DEFAULT NULL,
  reservedate date DEFAULT NULL,
  biblionumber int(11) DEFAULT NULL,
  branchcode varchar(10) DEFAULT NULL,
  cancellationdate date DEFAULT NULL,
  cancellation_reason varchar(80) DEFAULT NULL,
  priority smallint(6) NOT NULL DEFAULT 1,
  found varchar(1) DEFAULT NULL,
  timestamp timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),
  itemnumber int(11) DEFAULT NULL,
  waitingdate date DEFAULT NULL,
  expirationdate date DEFAULT NULL,
  patron_expiration_date date DEFAULT NULL,
  suspend tinyint(1) NOT NULL DEFAULT 0,
  PRIMARY KEY (reserve_id),
  FOREIGN KEY (borrowernumber) REFERENCES borrowers (borrowernumber) ON DELETE SET NULL ON UPDATE SET NULL,
  FOREIGN KEY (biblionumber) REFERENCES biblio (biblionumber) ON DELETE SET NULL ON UPDATE SET NULL,
  FOREIGN KEY (itemnumber) REFERENCES items (itemnumber) ON DELETE SET NULL ON UPDATE SET NULL
);

CREATE TABLE accountlines (
  accountlines_id int(11) NOT NULL AUTO_INCREMENT,
  issue_id int(11) DEFAULT NULL,
  borrowernumber int(11) DEFAULT NULL,
  itemnumber int(11) DEFAULT NULL,
  date timestamp NULL DEFAULT NULL,
  amount decimal(28,6) DEFAULT NULL,
  description longtext DEFAULT NULL,
  credit_type_code varchar(80) DEFAULT NULL,
  debit_type_code varchar(80) DEFAULT NULL,
  status varchar(16) DEFAULT NULL,
  amountoutstanding decimal(28,6) DEFAULT NULL,
  timestamp timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),
  interface varchar(16) NOT NULL,
  branchcode varchar(10) DEFAULT NULL,
  PRIMARY KEY (accountlines_id),
  FOREIGN KEY (borrowernumber) REFERENCES borrowers (borrowernumber) ON DELETE SET NULL ON UPDATE CASCADE,
  FOREIGN KEY (itemnumber) REFERENCES items (itemnumber) ON DELETE SET NULL ON UPDATE CASCADE
);

CREATE TABLE patron_consent (
  id int(11) NOT NULL AUTO_INCREMENT,
  borrowernumber int(11) NOT NULL,
  type tinytext DEFAULT NULL,
  given_on datetime DEFAULT NULL,
  refused_on datetime DEFAULT NULL,
  PRIMARY KEY (id),
  FOREIGN KEY (borrowernumber) REFERENCES borrowers (borrowernumber) ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TABLE illrequests (
  illrequest_id bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  borrowernumber int(11) DEFAULT NULL,
  branchcode varchar(50) NOT NULL,
  status varchar(50) DEFAULT NULL,
  placed date DEFAULT NULL,
  updated timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),
  completed date DEFAULT NULL,
  medium varchar(30) DEFAULT NULL,
  notesstaff mediumtext DEFAULT NULL,
  backend varchar(20) DEFAULT NULL,
  PRIMARY KEY (illrequest_id),
  FOREIGN KEY (borrowernumber) REFERENCES borrowers (borrowernumber) ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TABLE illrequestattributes (
  illrequest_id bigint(20) unsigned NOT NULL,
  type varchar(200) NOT NULL,
  value mediumtext NOT NULL,
  PRIMARY KEY (illrequest_id, type(191)),
  FOREIGN KEY (illrequest_id) REFERENCES illrequests (illrequest_id) ON DELETE CASCADE ON UPDATE CASCADE
);

INSERT INTO branches VALUES ('AMRC', 'Centrale', 'NL-AmrBKW'), ('AMRN', 'Noord', 'NL-AmrBKW');
INSERT INTO categories VALUES
  ('VOLW', 'Volwassene', 42.500000, 'A', 'default'),
  ('SCHOOL', 'School', NULL, 'I', 'never'),
  ('PERS', 'Personeel', 0.000000, 'S', 'default');

-- Borrower 1 is the one of the system preference AnonymousPatron, 2 works at the desk.
INSERT INTO borrowers (borrowernumber, cardnumber, surname, branchcode, categorycode, password) VALUES
  (1, 'ANONIEM', 'Anoniem', 'AMRC', 'PERS', NULL),
  (2, '20010000000002', 'Balie', 'AMRC', 'PERS', 'not-a-hash-2');
INSERT INTO borrowers
  (borrowernumber, cardnumber, surname, middle_name, firstname, initials, address, streetnumber, zipcode, city, email,
   mobile, dateofbirth, branchcode, categorycode, dateenrolled, dateexpiry, privacy, password, borrowernotes) VALUES
  (10, '20010000000010', 'Zwaluw', 'van der', 'Roos', 'R.', 'Veldzicht', '12', '1811 AB', 'Alkmaar',
   'roos.zwaluw@example.org', '06-00000000', '1985-07-30', 'AMRC', 'VOLW', '2024-03-01', CURDATE() + INTERVAL 300 DAY, 1,
   'not-a-hash-10', 'not for others'),
  (11, '20010000000011', 'Merel', NULL, 'Daan', 'D.', 'Kade', '7', '1811 CD', 'Alkmaar',
   'daan.merel@example.org', NULL, '1990-01-02', 'AMRN', 'VOLW', '2025-01-15', CURDATE() + INTERVAL 30 DAY, 2,
   'not-a-hash-11', NULL);

INSERT INTO biblio (biblionumber, author, title, datecreated) VALUES
  (101, 'Winter, Mila', 'Hoogwater', '2026-01-05'), (102, 'Bakker, T.', 'De ijsvogel', '2026-01-05');
INSERT INTO biblioitems VALUES (201, 101, 'BOEK', '9799978775041', NULL), (202, 102, 'BOEK', NULL, NULL);
INSERT INTO items (itemnumber, biblionumber, biblioitemnumber, barcode, homebranch, itype) VALUES
  (301, 101, 201, '30010000000301', 'AMRC', 'BOEK'), (302, 102, 202, '30010000000302', 'AMRN', 'BOEK');

INSERT INTO issues (issue_id, borrowernumber, issuer_id, itemnumber, date_due, branchcode, issuedate) VALUES
  (401, 10, 2, 301, CONCAT(CURDATE() + INTERVAL 21 DAY, ' 23:59:00'), 'AMRC', NOW());
INSERT INTO old_issues (issue_id, borrowernumber, issuer_id, itemnumber, date_due, branchcode, returndate, issuedate) VALUES
  (400, 10, 2, 302, CONCAT(CURDATE() - INTERVAL 9 DAY, ' 23:59:00'), 'AMRC', NOW() - INTERVAL 10 DAY,
   NOW() - INTERVAL 30 DAY);
INSERT INTO reserves (reserve_id, borrowernumber, reservedate, biblionumber, branchcode, priority, found, itemnumber,
                      waitingdate, expirationdate) VALUES
  (501, 11, CURDATE() - INTERVAL 3 DAY, 102, 'AMRN', 0, 'W', 302, CURDATE(), CURDATE() + INTERVAL 7 DAY);
INSERT INTO old_reserves (reserve_id, borrowernumber, reservedate, biblionumber, branchcode, priority, found) VALUES
  (500, 10, CURDATE() - INTERVAL 60 DAY, 102, 'AMRC', 0, 'F');
INSERT INTO accountlines (accountlines_id, borrowernumber, itemnumber, date, amount, debit_type_code, status,
                          amountoutstanding, interface, branchcode) VALUES
  (601, 10, 302, NOW(), 2.500000, 'OVERDUE', 'RETURNED', 2.500000, 'intranet', 'AMRC');
INSERT INTO patron_consent (id, borrowernumber, type, given_on) VALUES (701, 10, 'GDPR_PROCESSING', NOW());
INSERT INTO illrequests (illrequest_id, borrowernumber, branchcode, status, placed, medium, backend) VALUES
  (801, 11, 'AMRN', 'REQ', CURDATE(), 'book', 'FreeForm');
INSERT INTO illrequestattributes VALUES (801, 'title', 'Verre oever'), (801, 'author', 'Vos, L.');
