//! Frames: which APIs are spoken in which versions, how a request becomes bytes and how the bytes
//! of an answer become a message without trusting them.

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use kafka_protocol::{
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, ConsumerGroupDescribeRequest,
        ConsumerGroupDescribeResponse, CreatePartitionsRequest, CreatePartitionsResponse,
        CreateTopicsRequest, CreateTopicsResponse, DeleteGroupsRequest, DeleteGroupsResponse,
        DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
        DescribeConfigsRequest, DescribeConfigsResponse, DescribeGroupsRequest,
        DescribeGroupsResponse, ElectLeadersRequest, ElectLeadersResponse, FetchRequest,
        FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse,
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, ListGroupsRequest,
        ListGroupsResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
        MetadataResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
        OffsetFetchResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
        SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
        SaslHandshakeResponse,
    },
    protocol::{Decodable, Encodable, HeaderVersion, StrBytes, VersionRange, buf::ByteBuf},
};

use super::error::{ErrorCode, KafkaError};

/// The name under which brokers log and meter this client.
const CLIENT_ID: &str = "cdc-xtask";

/// One request type together with what this client knows about it.
pub(super) trait Api: Encodable + HeaderVersion {
    /// The answer's type.
    type Response: Decodable + HeaderVersion;
    /// The number of the API in the protocol.
    const KEY: i16;
    /// The API's name in Kafka's documentation.
    const NAME: &'static str;
    /// The versions that this client was written for. All of them are "flexible" (KIP-482) except
    /// that of SaslHandshake, which [`Guarded`] relies on, and none addresses topics by id only.
    const SPOKEN: VersionRange;
    /// Whether sending the request twice has the effect of sending it once, so that it may be
    /// repeated after a connection broke before the answer came.
    const REPEATABLE: bool = true;

    /// Turns an error code of the answer into a result.
    fn check(
        code: i16,
        subject: impl FnOnce() -> String,
        message: Option<&str>,
    ) -> Result<(), KafkaError> {
        match ErrorCode::try_from_code(code) {
            None => Ok(()),
            Some(code) => Err(KafkaError::Broker {
                api: Self::NAME,
                code,
                subject: subject(),
                message: message.filter(|text| !text.is_empty()).map(str::to_owned),
            }),
        }
    }
}

macro_rules! apis {
    ($($key:literal $name:ident $min:literal..=$max:literal $request:ty => $response:ty
        $(, repeatable: $repeatable:literal)?;)*) => {$(
        impl Api for $request {
            type Response = $response;
            const KEY: i16 = $key;
            const NAME: &'static str = stringify!($name);
            const SPOKEN: VersionRange = VersionRange { min: $min, max: $max };
            $(const REPEATABLE: bool = $repeatable;)?
        }
    )*};
}

// Keys and version histories: the `apiKey` and `validVersions` comments of Kafka's
// clients/src/main/resources/common/message/*Request.json. The oldest broker that speaks all of
// these is 3.0; 4.0 still speaks all of them.
apis! {
    0  Produce 9..=9 ProduceRequest => ProduceResponse, repeatable: false;
    1  Fetch 12..=12 FetchRequest => FetchResponse;
    2  ListOffsets 6..=7 ListOffsetsRequest => ListOffsetsResponse;
    3  Metadata 9..=12 MetadataRequest => MetadataResponse;
    8  OffsetCommit 8..=8 OffsetCommitRequest => OffsetCommitResponse;
    9  OffsetFetch 8..=8 OffsetFetchRequest => OffsetFetchResponse;
    10 FindCoordinator 4..=4 FindCoordinatorRequest => FindCoordinatorResponse;
    15 DescribeGroups 5..=6 DescribeGroupsRequest => DescribeGroupsResponse;
    16 ListGroups 4..=5 ListGroupsRequest => ListGroupsResponse;
    17 SaslHandshake 1..=1 SaslHandshakeRequest => SaslHandshakeResponse;
    18 ApiVersions 3..=3 ApiVersionsRequest => ApiVersionsResponse;
    19 CreateTopics 5..=7 CreateTopicsRequest => CreateTopicsResponse;
    20 DeleteTopics 6..=6 DeleteTopicsRequest => DeleteTopicsResponse;
    21 DeleteRecords 2..=2 DeleteRecordsRequest => DeleteRecordsResponse;
    32 DescribeConfigs 4..=4 DescribeConfigsRequest => DescribeConfigsResponse;
    36 SaslAuthenticate 2..=2 SaslAuthenticateRequest => SaslAuthenticateResponse;
    37 CreatePartitions 2..=3 CreatePartitionsRequest => CreatePartitionsResponse;
    42 DeleteGroups 2..=2 DeleteGroupsRequest => DeleteGroupsResponse;
    43 ElectLeaders 2..=2 ElectLeadersRequest => ElectLeadersResponse;
    44 IncrementalAlterConfigs 1..=1 IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;
    69 ConsumerGroupDescribe 0..=1 ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse;
}

/// Encodes a request with its size prefix and header.
pub(super) fn encode<A: Api>(request: &A, version: i16, correlation: i32) -> Result<Bytes, String> {
    let header = RequestHeader::default()
        .with_request_api_key(A::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    header
        .encode(&mut frame, A::header_version(version))
        .and_then(|()| request.encode(&mut frame, version))
        .map_err(|error| error.to_string())?;
    let size = i32::try_from(frame.len() - 4).map_err(|_| "request over 2 GiB".to_owned())?;
    frame[..4].copy_from_slice(&size.to_be_bytes());
    Ok(frame.freeze())
}

/// Decodes an answer's frame (without its size prefix) and checks that it answers `correlation`.
pub(super) fn decode<A: Api>(
    frame: Bytes,
    version: i16,
    correlation: i32,
) -> Result<A::Response, String> {
    let mut frame = Guarded::new(frame);
    let header = ResponseHeader::decode(&mut frame, A::Response::header_version(version))
        .map_err(|error| error.to_string())?;
    if header.correlation_id != correlation {
        return Err(format!(
            "it answers request {} instead of {correlation}",
            header.correlation_id
        ));
    }
    frame.fixed_lengths = A::KEY == SaslHandshakeRequest::KEY;
    let response = A::Response::decode(&mut frame, version).map_err(|error| error.to_string())?;
    match frame.remaining() {
        0 => Ok(response),
        left => Err(format!("{left} bytes too many")),
    }
}

/// An answer's bytes, with a check that the codec lacks.
///
/// `kafka-protocol` reserves memory for as many elements as an array's length prefix announces
/// before it reads the first one, so that a few damaged bytes would ask for gigabytes and abort
/// the process. In flexible versions every length is an unsigned varint, the codec reads varints
/// (and booleans, which are one byte below 0x80) through [`Buf::try_get_u8`] and nothing else
/// through it, and every element takes at least one byte. So each multi-byte varint can be
/// compared here with what is left of the frame.
///
/// SaslHandshake never became flexible: there, the one number of 32 bits is the length of an array.
struct Guarded {
    fixed_lengths: bool,
    bytes: Bytes,
    varint: u64,
    shift: u32,
}

impl Guarded {
    fn new(bytes: Bytes) -> Self {
        Self {
            fixed_lengths: false,
            bytes,
            varint: 0,
            shift: 0,
        }
    }
}

impl Buf for Guarded {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let number = self.bytes.try_get_i32()?;
        // -1 is null.
        let announced = usize::try_from(number).unwrap_or(0);
        if self.fixed_lengths && announced > self.bytes.remaining() {
            return Err(TryGetError {
                requested: announced,
                available: self.bytes.remaining(),
            });
        }
        Ok(number)
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        self.varint |= u64::from(byte & 0x7f) << self.shift;
        // The codec stops after five bytes whatever the fifth one says.
        if byte >= 0x80 && self.shift < 28 {
            self.shift += 7;
            return Ok(byte);
        }
        // Lengths are sent plus one, zero meaning null.
        let announced = usize::try_from(self.varint.saturating_sub(1)).unwrap_or(usize::MAX);
        let several_bytes = self.shift > 0;
        (self.varint, self.shift) = (0, 0);
        if several_bytes && announced > self.bytes.remaining() {
            return Err(TryGetError {
                requested: announced,
                available: self.bytes.remaining(),
            });
        }
        Ok(byte)
    }
}

impl ByteBuf for Guarded {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.bytes.split_to(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Metadata v12 answer without brokers and topics: correlation id, header tags, throttle
    /// time, brokers, cluster id, controller, topics, tags.
    fn metadata(brokers: &[u8]) -> Bytes {
        let mut frame = BytesMut::new();
        frame.put_i32(7);
        frame.put_u8(0);
        frame.put_i32(0);
        frame.put_slice(brokers);
        frame.put_u8(0);
        frame.put_i32(1);
        frame.put_u8(1);
        frame.put_u8(0);
        frame.freeze()
    }

    #[test]
    fn an_intact_answer_is_decoded() {
        let response = decode::<MetadataRequest>(metadata(&[1]), 12, 7).expect("valid");
        assert_eq!(response.controller_id.0, 1);
    }

    #[test]
    fn another_requests_answer_is_refused() {
        let error = decode::<MetadataRequest>(metadata(&[1]), 12, 8).expect_err("wrong id");
        assert!(error.contains("request 7 instead of 8"), "{error}");
    }

    #[test]
    fn an_absurd_array_length_is_an_error_and_no_allocation() {
        let four_billion = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert!(decode::<MetadataRequest>(metadata(&four_billion), 12, 7).is_err());
    }

    #[test]
    fn an_absurd_number_of_mechanisms_is_an_error_and_no_allocation() {
        let answer = |count: i32, rest: &[u8]| {
            let mut frame = BytesMut::new();
            frame.put_i32(7);
            frame.put_i16(33);
            frame.put_i32(count);
            frame.put_slice(rest);
            decode::<SaslHandshakeRequest>(frame.freeze(), 1, 7)
        };
        let right = answer(1, b"\0\x05PLAIN").expect("valid");
        assert_eq!(right.mechanisms, [StrBytes::from_static_str("PLAIN")]);
        assert!(answer(i32::MAX, b"\0\x05PLAIN").is_err());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let frame = metadata(&[1]);
        for length in 0..frame.len() {
            let truncated = frame.slice(..length);
            assert!(
                decode::<MetadataRequest>(truncated, 12, 7).is_err(),
                "{length}"
            );
        }
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        let mut frame = BytesMut::from(metadata(&[1]).as_ref());
        frame.put_u8(0);
        assert!(decode::<MetadataRequest>(frame.freeze(), 12, 7).is_err());
    }

    #[test]
    fn only_produce_is_not_repeatable() {
        const { assert!(!ProduceRequest::REPEATABLE && FetchRequest::REPEATABLE) };
    }

    #[test]
    fn requests_carry_size_key_version_and_correlation() {
        let frame = encode(&MetadataRequest::default(), 12, 5).expect("encodes");
        assert_eq!(frame[..4], (frame.len() as i32 - 4).to_be_bytes());
        assert_eq!(frame[4..12], [0, 3, 0, 12, 0, 0, 0, 5]);
    }
}
