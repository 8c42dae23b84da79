"""Reads the outputs of one recipient: keeps what it has, and erases what is taken back.

Arguments: BROKERS TOPIC GROUP CONTRACT_VERSION [ACKNOWLEDGEMENTS_TOPIC]

The last one where the contract asks for acknowledgements.
"""

import json
import sys

CONTRACT_VERSION_HEADER = "zeef-contract-version"
REASON_HEADER = "zeef-retraction-reason"
ID_HEADER = "zeef-retraction-id"


def header(message, name):
    """The text of a header, or None."""
    for key, value in message.headers() or []:
        if key == name and value is not None:
            return value.decode("utf-8")
    return None


def apply(records, message, contract_version):
    """Applies one message to what is kept, by key. Returns the id of a retraction, or None."""
    version = header(message, CONTRACT_VERSION_HEADER)
    if version is not None and version != contract_version:
        raise SystemExit(f"the contract is now {version}: read it, and change this program")
    key = message.key()
    # A null is a message: its value is None. Never test it for truth.
    if message.value() is None:
        removed = records.pop(key, None)
        if removed is not None and header(message, REASON_HEADER) == "erase":
            erase_copies(key)
        # Also of a key that is not kept: it may have been erased before, and not acknowledged.
        return header(message, ID_HEADER)
    records[key] = json.loads(message.value())
    return None


def erase_copies(key):
    """Erase backups, reports and exports that hold this record, too (GDPR art. 17 and 19)."""
    print("erase every copy of one record", file=sys.stderr)


def acknowledge(producer, topic, key, retraction_id):
    """Says that what a retraction took back is erased; waits until that is written."""
    failures = []

    def delivered(error, _message):
        if error is not None:
            failures.append(error)

    producer.produce(topic, key=key, value=retraction_id, on_delivery=delivered)
    if producer.flush(30) > 0 or failures:
        raise SystemExit("an acknowledgement could not be written")


def main():
    from confluent_kafka import Consumer, Producer

    brokers, topic, group, contract_version, *rest = sys.argv[1:]
    acknowledgements = rest[0] if rest else None
    producer = Producer({"bootstrap.servers": brokers, "acks": "all"}) if rest else None
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": group,
            # Others were never decided, and nobody counts them as yours.
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    records = {}
    try:
        while True:
            # None here is no message at all; a null is a message whose value is None.
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error() is not None:
                raise SystemExit(str(message.error()))
            retraction_id = apply(records, message, contract_version)
            # What is kept must be on disk, and what is erased acknowledged, before the offset is
            # committed: otherwise a crash between them loses an acknowledgement.
            if acknowledgements is not None and retraction_id is not None:
                acknowledge(producer, acknowledgements, message.key(), retraction_id)
            consumer.commit(message=message, asynchronous=False)
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
