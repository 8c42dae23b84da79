-- The connector's role on FOLIO's PostgreSQL, the publication, and whole rows before a change. Run it as the owner of the
-- tables, once; replace the tenant `amrland` (again for each tenant but CREATE) and the password.

-- Without these, a change of a record does not say whose it was, and zeef refuses it.
ALTER TABLE amrland_mod_users.users REPLICA IDENTITY FULL;
ALTER TABLE amrland_mod_circulation_storage.loan REPLICA IDENTITY FULL;
ALTER TABLE amrland_mod_circulation_storage.request REPLICA IDENTITY FULL;
ALTER TABLE amrland_mod_feesfines.accounts REPLICA IDENTITY FULL;

-- The owner makes it, so that the connector's role has to own nothing.
CREATE PUBLICATION zeef FOR TABLE
  amrland_mod_users.users,
  amrland_mod_circulation_storage.loan,
  amrland_mod_circulation_storage.request,
  amrland_mod_feesfines.accounts,
  amrland_mod_inventory_storage.item,
  amrland_mod_inventory_storage.holdings_record,
  amrland_mod_inventory_storage.instance,
  amrland_mod_inventory_storage.service_point,
  amrland_mod_inventory_storage.material_type;

CREATE ROLE debezium LOGIN REPLICATION PASSWORD 'change-me';
GRANT USAGE ON SCHEMA amrland_mod_users, amrland_mod_circulation_storage, amrland_mod_feesfines,
  amrland_mod_inventory_storage TO debezium;
GRANT SELECT ON
  amrland_mod_users.users,
  amrland_mod_circulation_storage.loan,
  amrland_mod_circulation_storage.request,
  amrland_mod_feesfines.accounts,
  amrland_mod_inventory_storage.item,
  amrland_mod_inventory_storage.holdings_record,
  amrland_mod_inventory_storage.instance,
  amrland_mod_inventory_storage.service_point,
  amrland_mod_inventory_storage.material_type
  TO debezium;
