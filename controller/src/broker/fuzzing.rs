//! The way of the fuzzers to the decoder of the front door.

use bytes::BytesMut;

use super::{
    config::{MAX_LOGIN_PACKET, MAX_PACKET},
    packet::{decode, encode},
};

/// Decodes packets until the bytes are used up or wrong; what was read is written and read again.
pub fn mqtt(bytes: &[u8]) {
    for limit in [MAX_LOGIN_PACKET, MAX_PACKET] {
        let mut buffer = BytesMut::from(bytes);
        while let Ok(Some(packet)) = decode(&mut buffer, limit) {
            let mut again = BytesMut::new();
            encode(&packet, &mut again);
            assert_eq!(decode(&mut again, usize::MAX), Ok(Some(packet)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            super::mqtt(&bytes);
        }
    }
}
