//! The headers of messages of others.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::Message;
use rdkafka::message::Headers;

use crate::message::{TRACE_PARENT, TraceParent};

/// What a message has of the headers of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeaderValues<'m> {
    pub(super) count: usize,
    /// `None` if there is no such header, or its value is null.
    pub(super) first: Option<&'m [u8]>,
    pub(super) last: Option<&'m [u8]>,
}

/// A header before one of the name has a name that is no UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnreadableHeaders;

/// Finds the headers of a name.
///
/// # Errors
///
/// The headers cannot be read: rdkafka panics on a name that is no UTF-8, and a message of another
/// program must end nothing.
pub(super) fn find_headers<'m, M: Message>(
    message: &'m M,
    name: &str,
) -> Result<HeaderValues<'m>, UnreadableHeaders> {
    message.headers().map_or_else(|| Ok(HeaderValues::default()), |headers| find_in(headers, name))
}

fn find_in<'m, H: Headers>(
    headers: &'m H,
    name: &str,
) -> Result<HeaderValues<'m>, UnreadableHeaders> {
    let find = || {
        let mut found = HeaderValues::default();
        for header in headers.iter().filter(|header| header.key == name) {
            if found.count == 0 {
                found.first = header.value;
            }
            found.count += 1;
            found.last = header.value;
        }
        found
    };
    catch_unwind(AssertUnwindSafe(find)).map_err(|_| UnreadableHeaders)
}

/// Returns what a message says of the upstream's operation that sent it; `None` if nothing.
pub(super) fn trace_parent(message: &impl Message) -> Option<TraceParent> {
    match find_headers(message, TRACE_PARENT) {
        Ok(HeaderValues { count: 0, .. }) => None,
        Ok(HeaderValues { count: 1, first: Some(value), .. }) => Some(TraceParent::parse(value)),
        Ok(_) | Err(UnreadableHeaders) => Some(TraceParent::Unusable),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    use super::*;
    use crate::message::ForeignOperation;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const OPERATION: ForeignOperation = ForeignOperation {
        trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
        operation: 0xb7ad_6b71_6920_3331,
    };

    /// Name and value.
    type TestHeader = (&'static str, Option<&'static str>);

    fn message(headers: &[TestHeader]) -> OwnedMessage {
        let headers = headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: *value })
        });
        let time = Timestamp::NotAvailable;
        OwnedMessage::new(None, None, "topic".to_owned(), time, 0, 0, Some(headers))
    }

    #[test]
    fn one_trace_parent_is_read_and_several_or_none_are_not() {
        let other = ("tracestate", Some("x"));
        let given = ("traceparent", Some(GIVEN));
        let read = Some(TraceParent::Operation(OPERATION));
        let unusable = Some(TraceParent::Unusable);
        let cases: [(&[TestHeader], Option<TraceParent>); 8] = [
            (&[], None),
            (&[other], None),
            (&[("Traceparent", Some(GIVEN))], None),
            (&[given], read),
            (&[other, given, other], read),
            (&[given, given], unusable),
            (&[("traceparent", None)], unusable),
            (&[("traceparent", Some(""))], unusable),
        ];
        for (headers, want) in cases {
            assert_eq!(trace_parent(&message(headers)), want, "{headers:?}");
        }
    }

    /// One header, whose name is no UTF-8.
    struct UnreadableName;

    impl Headers for UnreadableName {
        fn count(&self) -> usize {
            1
        }

        fn try_get(&self, index: usize) -> Option<Header<'_, &[u8]>> {
            // As rdkafka does.
            let name = vec![0xff];
            assert!(index > 0 || str::from_utf8(&name).is_ok(), "no UTF-8");
            None
        }
    }

    #[test]
    fn headers_that_rdkafka_cannot_read_end_nothing() {
        assert_eq!(find_in(&UnreadableName, "traceparent"), Err(UnreadableHeaders));
    }
}
