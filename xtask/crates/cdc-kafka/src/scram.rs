//! SCRAM (RFC 5802, RFC 7677): the client's side, as pure functions of what the server says.
//!
//! The server is not trusted before it has proved that it knows the password: its messages are
//! parsed strictly, it may not choose how long this client computes, and its proof is compared in
//! constant time.

use std::{num::NonZeroU32, str};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ring::{digest, hmac, pbkdf2};

/// What Kafka demands at the least (`ScramMechanism.minIterations`). Fewer would let whoever plays
/// the server guess the password cheaply from the proof.
const MIN_ITERATIONS: u32 = 4096;

/// A tenth of a second of computing. Kafka itself stores no credential with more than 16,384.
const MAX_ITERATIONS: u32 = 100_000;

/// The channel binding `n,,` (none), in base64.
const NO_CHANNEL_BINDING: &str = "biws";

/// The hash that the exchange is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Hash {
    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn mac(self, key: &[u8], text: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac(), key), text)
    }
}

/// Why an exchange of SCRAM messages failed. No message contains a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The user name or the password cannot be sent.
    #[error(
        "the {0} is empty or has other characters than printable ASCII, which this client does not support"
    )]
    Credential(
        /// `user name` or `password`.
        &'static str,
    ),
    /// The server's message is none.
    #[error("the server's {message} SCRAM message is damaged: {detail}")]
    Damaged {
        /// `first` or `final`.
        message: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The server does not continue this exchange but another.
    #[error("the server's nonce does not continue the client's")]
    Nonce,
    /// The server's iteration count is out of bounds.
    #[error(
        "the server demands {0} iterations, and this client accepts {MIN_ITERATIONS} to {MAX_ITERATIONS}"
    )]
    Iterations(
        /// What it demanded.
        u32,
    ),
    /// The server ended the exchange with an error of its own.
    #[error("the server says: {0}")]
    Refused(
        /// Its words.
        String,
    ),
    /// The server did not prove that it knows the password.
    #[error("the server did not prove that it knows the password: it is not the real one")]
    Signature,
}

/// The beginning of an exchange.
pub struct ClientFirst {
    hash: Hash,
    nonce: String,
    bare: String,
}

impl ClientFirst {
    /// Begins an exchange. `nonce` must be unguessable, printable and without a comma.
    ///
    /// # Errors
    /// The user name is empty or not printable ASCII.
    pub fn new(hash: Hash, user: &str, nonce: String) -> Result<Self, ScramError> {
        let user = prepared("user name", user)?;
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Ok(Self {
            hash,
            bare: format!("n={user},r={nonce}"),
            nonce,
        })
    }

    /// The client's first message.
    pub fn message(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// Answers the server's first message. This takes a while, by design.
    ///
    /// # Errors
    /// The server's message is not acceptable, or the password is empty or not printable ASCII.
    pub fn answer(&self, password: &str, server_first: &[u8]) -> Result<ClientFinal, ScramError> {
        let password = prepared("password", password)?;
        let challenge = Challenge::parse(server_first)?;
        let added = challenge.nonce.strip_prefix(self.nonce.as_str());
        if added.is_none_or(str::is_empty) {
            return Err(ScramError::Nonce);
        }
        let hash = self.hash;
        let mut salted = vec![0; hash.digest().output_len()];
        pbkdf2::derive(
            hash.pbkdf2(),
            challenge.iterations,
            &challenge.salt,
            password.as_bytes(),
            &mut salted,
        );
        let message = format!("c={NO_CHANNEL_BINDING},r={}", challenge.nonce);
        let signed = format!("{},{},{message}", self.bare, challenge.text);
        let client_key = hash.mac(&salted, b"Client Key");
        let stored_key = digest::digest(hash.digest(), client_key.as_ref());
        let signature = hash.mac(stored_key.as_ref(), signed.as_bytes());
        let proof: Vec<u8> = (client_key.as_ref().iter())
            .zip(signature.as_ref())
            .map(|(key, signature)| key ^ signature)
            .collect();
        let server_key = hash.mac(&salted, b"Server Key");
        Ok(ClientFinal {
            message: format!("{message},p={}", BASE64.encode(proof)),
            server_key: hmac::Key::new(hash.hmac(), server_key.as_ref()),
            signed,
        })
    }
}

/// The end of an exchange.
pub struct ClientFinal {
    message: String,
    server_key: hmac::Key,
    signed: String,
}

impl ClientFinal {
    /// The client's final message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Checks the server's final message.
    ///
    /// # Errors
    /// The server refuses, or does not prove that it knows the password.
    pub fn verify(&self, server_final: &[u8]) -> Result<(), ScramError> {
        let damaged = |detail| ScramError::Damaged {
            message: "final",
            detail,
        };
        let text = str::from_utf8(server_final).map_err(|_| damaged("it is not UTF-8"))?;
        let first = text.split(',').next().unwrap_or_default();
        if let Some(error) = first.strip_prefix("e=") {
            // It goes to a terminal and comes from anyone.
            return Err(ScramError::Refused(error.escape_debug().to_string()));
        }
        let signature = first.strip_prefix("v=").and_then(decoded);
        let signature = signature.ok_or_else(|| damaged("it has no signature"))?;
        hmac::verify(&self.server_key, self.signed.as_bytes(), &signature)
            .map_err(|_| ScramError::Signature)
    }
}

/// The server's first message.
struct Challenge<'a> {
    text: &'a str,
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl<'a> Challenge<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, ScramError> {
        let damaged = |detail| ScramError::Damaged {
            message: "first",
            detail,
        };
        let text = str::from_utf8(message).map_err(|_| damaged("it is not UTF-8"))?;
        // The order is fixed; `m=`, which would come first, announces an extension that a client
        // must understand; those at the end may be ignored.
        let mut attributes = text.split(',');
        let mut next = |name| {
            let attribute = attributes.next().unwrap_or_default();
            attribute.strip_prefix(name)
        };
        let nonce = next("r=").filter(|nonce| nonce.bytes().all(|byte| byte.is_ascii_graphic()));
        let nonce = nonce.ok_or_else(|| damaged("it has no nonce in the first place"))?;
        let salt = next("s=").and_then(decoded).filter(|salt| !salt.is_empty());
        let salt = salt.ok_or_else(|| damaged("it has no salt in the second place"))?;
        let count = next("i=")
            .filter(|count| count.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|count| count.parse::<u32>().ok());
        let count = count.ok_or_else(|| damaged("it has no iteration count in the third place"))?;
        let bounded = (MIN_ITERATIONS..=MAX_ITERATIONS).contains(&count);
        match NonZeroU32::new(count) {
            Some(iterations) if bounded => Ok(Self {
                text,
                nonce,
                salt,
                iterations,
            }),
            _ => Err(ScramError::Iterations(count)),
        }
    }
}

fn decoded(base64: &str) -> Option<Vec<u8>> {
    BASE64.decode(base64).ok()
}

/// SASLprep (RFC 4013) as far as it changes nothing and forbids nothing.
fn prepared<'a>(what: &'static str, text: &'a str) -> Result<&'a str, ScramError> {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match printable && !text.is_empty() {
        true => Ok(text),
        false => Err(ScramError::Credential(what)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    /// What the two hashes must answer to [`SERVER_FIRST`] for `user` with `pencil`, and what
    /// proves the server. The first is the example of RFC 7677, section 3. The second is computed
    /// from the same input by Python:
    ///
    /// ```python
    /// import base64, hashlib, hmac
    /// def mac(key, text): return hmac.new(key, text, "sha512").digest()
    /// nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    /// salt = "W22ZaJ0SNY7soEsUEjb6gQ=="
    /// signed = f"n=user,r={nonce[:20]},r={nonce},s={salt},i=4096,c=biws,r={nonce}".encode()
    /// salted = hashlib.pbkdf2_hmac("sha512", b"pencil", base64.b64decode(salt), 4096)
    /// key = mac(salted, b"Client Key")
    /// proof = bytes(a ^ b for a, b in zip(key, mac(hashlib.sha512(key).digest(), signed)))
    /// print(base64.b64encode(proof), base64.b64encode(mac(mac(salted, b"Server Key"), signed)))
    /// ```
    const EXAMPLES: [(Hash, &str, &str); 2] = [
        (
            Hash::Sha256,
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
        (
            Hash::Sha512,
            "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
            "ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
        ),
    ];

    fn begin(hash: Hash) -> ClientFirst {
        ClientFirst::new(hash, "user", NONCE.to_owned()).unwrap()
    }

    fn refusal(server_first: &str) -> ScramError {
        let first = begin(Hash::Sha512);
        first
            .answer("pencil", server_first.as_bytes())
            .err()
            .expect("not acceptable")
    }

    #[test]
    fn the_examples_messages_come_out() {
        for (hash, proof, signature) in EXAMPLES {
            let first = begin(hash);
            assert_eq!(first.message(), format!("n,,n=user,r={NONCE}"));
            let answer = first.answer("pencil", SERVER_FIRST.as_bytes()).unwrap();
            let nonce = format!("{NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
            assert_eq!(answer.message(), format!("c=biws,r={nonce},p={proof}"));
            assert_eq!(answer.verify(format!("v={signature}").as_bytes()), Ok(()));
        }
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_not_believed() {
        let [(_, _, other), (hash, _, signature)] = EXAMPLES;
        let first = begin(hash);
        let answer = first.answer("pencil", SERVER_FIRST.as_bytes()).unwrap();
        let mut changed = BASE64.decode(signature).unwrap();
        changed[63] ^= 1;
        let changed = BASE64.encode(changed);
        for signature in [other, &changed, "", "AA=="] {
            let outcome = answer.verify(format!("v={signature}").as_bytes());
            assert_eq!(outcome, Err(ScramError::Signature), "{signature}");
        }
        // One that knows another password proves that one.
        let another = first.answer("pencils", SERVER_FIRST.as_bytes()).unwrap();
        let outcome = another.verify(format!("v={signature}").as_bytes());
        assert_eq!(outcome, Err(ScramError::Signature));
    }

    #[test]
    fn a_final_message_without_a_signature_is_no_proof() {
        let first = begin(Hash::Sha512);
        let answer = first.answer("pencil", SERVER_FIRST.as_bytes()).unwrap();
        for message in ["", "v", "v=%", "x=AA==", ",v=AA=="] {
            let outcome = answer.verify(message.as_bytes());
            assert!(
                matches!(outcome, Err(ScramError::Damaged { .. })),
                "{message}"
            );
        }
        assert_eq!(
            answer.verify(b"e=invalid-\x1bproof"),
            Err(ScramError::Refused("invalid-\\u{1b}proof".into()))
        );
    }

    #[test]
    fn another_nonce_is_refused() {
        for nonce in [NONCE, "", "other", &NONCE[1..], &NONCE.to_lowercase()] {
            let message = format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
            assert_eq!(refusal(&message), ScramError::Nonce, "{nonce}");
        }
    }

    #[test]
    fn the_server_chooses_the_work_within_bounds() {
        for count in [0, 1, 4095, 100_001, u32::MAX] {
            let message = format!("r={NONCE}x,s=AAAA,i={count}");
            assert_eq!(refusal(&message), ScramError::Iterations(count));
        }
    }

    #[test]
    fn damaged_challenges_are_refused() {
        for message in [
            "",
            "r=",
            "s=AAAA,r=x,i=4096",
            "m=x,r=x,s=AAAA,i=4096",
            "r=x y,s=AAAA,i=4096",
            "r=x,s=,i=4096",
            "r=x,s=A,i=4096",
            "r=x,s=AAAA",
            "r=x,s=AAAA,i=",
            "r=x,s=AAAA,i=+4096",
            "r=x,s=AAAA,i=-1",
            "r=x,s=AAAA,i=99999999999",
        ] {
            let error = refusal(message);
            assert!(
                matches!(error, ScramError::Damaged { .. }),
                "{message}: {error}"
            );
        }
    }

    #[test]
    fn extensions_at_the_end_are_ignored_but_signed() {
        let first = begin(Hash::Sha512);
        let plain = first.answer("pencil", SERVER_FIRST.as_bytes()).unwrap();
        let extended = format!("{SERVER_FIRST},x=new");
        let extended = first.answer("pencil", extended.as_bytes()).unwrap();
        assert_ne!(plain.message(), extended.message());
    }

    #[test]
    fn only_printable_ascii_is_sent() {
        let first = begin(Hash::Sha512);
        for password in ["", "pässword", "tab\t", "nul\0"] {
            let outcome = first.answer(password, SERVER_FIRST.as_bytes());
            let error = outcome.err().expect("not supported");
            assert_eq!(error, ScramError::Credential("password"));
            assert!(password.is_empty() || !error.to_string().contains(password));
            let outcome = ClientFirst::new(Hash::Sha512, password, NONCE.into());
            assert_eq!(outcome.err(), Some(ScramError::Credential("user name")));
        }
    }

    #[test]
    fn separators_in_names_are_escaped() {
        let first = ClientFirst::new(Hash::Sha512, "a=b,c", NONCE.into()).unwrap();
        assert_eq!(first.message(), format!("n,,n=a=3Db=2Cc,r={NONCE}"));
    }

    #[test]
    fn no_final_message_panics_or_passes() {
        let challenge = SERVER_FIRST.as_bytes();
        let first = begin(Hash::Sha256);
        let answer = first.answer("pencil", challenge).unwrap();
        proptest!(|(message in prop::collection::vec(any::<u8>(), 0..200))| {
            prop_assert!(answer.verify(&message).is_err());
            let prefixed = [b"v=".as_slice(), &message].concat();
            prop_assert!(answer.verify(&prefixed).is_err());
        });
    }

    proptest! {
        #[test]
        fn no_first_message_panics(message in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(begin(Hash::Sha512).answer("pencil", &message).is_err());
        }

        #[test]
        fn no_nearly_right_first_message_panics(
            nonce in "[ -~]{0,30}",
            salt in "[A-Za-z0-9+/=]{0,30}",
            count in "[0-9+-]{0,12}",
            rest in ".{0,20}",
        ) {
            let message = format!("r={NONCE}{nonce},s={salt},i={count}{rest}");
            let _ = begin(Hash::Sha256).answer("pencil", message.as_bytes());
        }
    }
}
