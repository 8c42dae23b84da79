//! A timestamp authority (RFC 3161): the command `openssl ts`, with certificates of its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use openssl::x509::{X509, X509Name, X509NameBuilder};

/// Whom the authority's certificate names.
pub const AUTHORITY_NAME: &str = "O=Voorbeeld, CN=Example TSA";

/// How an authority is.
#[derive(Clone, Copy, Debug)]
pub struct AuthorityOptions {
    /// From when and until when its certificate is valid, in seconds from now.
    pub valid: (i64, i64),
    /// Whether its certificate is for timestamps.
    pub is_for_timestamps: bool,
    /// The only digest that it takes.
    pub digest: &'static str,
    /// By which digest its signature names its certificate.
    pub certificate_digest: &'static str,
}

impl Default for AuthorityOptions {
    fn default() -> Self {
        AuthorityOptions {
            valid: (-3600, 86_400),
            is_for_timestamps: true,
            digest: "sha256",
            certificate_digest: "sha256",
        }
    }
}

/// An authority whose files are in a folder.
#[derive(Clone, Debug)]
pub struct TestAuthority {
    folder: PathBuf,
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn name(common_name: &str) -> X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("O", "Voorbeeld").unwrap();
    name.append_entry_by_text("CN", common_name).unwrap();
    name.build()
}

/// Makes a certificate, signed by `issuer`, or by itself.
fn certificate(
    (common_name, key): (&str, &PKey<Private>),
    issuer: Option<(&X509, &PKey<Private>)>,
    options: AuthorityOptions,
) -> X509 {
    let now = jiff::Timestamp::now().as_second();
    let own = name(common_name);
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(if issuer.is_some() { 2 } else { 1 }).unwrap();
    builder.set_serial_number(&Asn1Integer::from_bn(&serial).unwrap()).unwrap();
    builder.set_subject_name(&own).unwrap();
    builder.set_issuer_name(issuer.map_or(&own, |(issuer, _)| issuer.subject_name())).unwrap();
    builder.set_pubkey(key).unwrap();
    let (from, until) = options.valid;
    builder.set_not_before(&Asn1Time::from_unix(now + from).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(now + until).unwrap()).unwrap();
    if issuer.is_none() {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    } else if options.is_for_timestamps {
        let usage = KeyUsage::new().critical().digital_signature().build().unwrap();
        builder.append_extension(usage).unwrap();
        let usage = ExtendedKeyUsage::new().critical().time_stamping().build().unwrap();
        builder.append_extension(usage).unwrap();
    }
    let signer = issuer.map_or(key, |(_, key)| key);
    builder.sign(signer, MessageDigest::sha256()).unwrap();
    builder.build()
}

impl TestAuthority {
    /// Makes the keys and certificates in a new folder.
    #[must_use]
    pub fn new(folder: &Path, options: AuthorityOptions) -> TestAuthority {
        fs::create_dir_all(folder).unwrap();
        let (ca_key, key) = (new_key(), new_key());
        let of_ca = AuthorityOptions::default();
        let ca_name = format!("CA of {}", folder.file_name().unwrap().display());
        let ca = certificate((&ca_name, &ca_key), None, of_ca);
        let own = certificate(("Example TSA", &key), Some((&ca, &ca_key)), options);
        let authority = TestAuthority { folder: folder.to_owned() };
        fs::write(authority.ca_file(), ca.to_pem().unwrap()).unwrap();
        fs::write(folder.join("tsa.pem"), own.to_pem().unwrap()).unwrap();
        fs::write(folder.join("tsa.key"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        let AuthorityOptions { digest, certificate_digest, .. } = options;
        let shown = folder.display();
        let settings = format!(
            "[tsa]\nserial = {shown}/serial\nsigner_cert = {shown}/tsa.pem\ncerts = {shown}/ca.pem\n\
             signer_key = {shown}/tsa.key\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\n\
             digests = {digest}\naccuracy = secs:1\ness_cert_id_alg = {certificate_digest}\n"
        );
        fs::write(folder.join("tsa.cnf"), settings).unwrap();
        authority
    }

    /// The certificate that the authority's is signed by, in PEM.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The DER of the authority's own certificate.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        let text = fs::read(self.folder.join("tsa.pem")).unwrap();
        X509::from_pem(&text).unwrap().to_der().unwrap()
    }

    /// Answers a request.
    #[must_use]
    pub fn answer(&self, request: &[u8]) -> Vec<u8> {
        let [query, reply] = ["query", "reply"].map(|name| self.folder.join(name));
        fs::write(&query, request).unwrap();
        let config = self.folder.join("tsa.cnf");
        let ran = Command::new("openssl")
            .args(["ts", "-reply", "-section", "tsa", "-config"])
            .args([&config, Path::new("-queryfile"), &query, Path::new("-out"), &reply])
            .output()
            .expect("the command openssl");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        fs::read(reply).unwrap()
    }

    /// Signs the content of another authority's answer, as if it were its own.
    #[must_use]
    pub fn sign_content_of(&self, answer: &[u8]) -> Vec<u8> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        fs::write(file("other"), answer).unwrap();
        let run = |words: &str| {
            let words = words.split(' ').map(|word| match word.strip_prefix('@') {
                Some(name) => file(name),
                None => word.to_owned(),
            });
            let ran = Command::new("openssl").args(words).output().expect("the command openssl");
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        };
        run("ts -reply -in @other -token_out -out @token");
        run("cms -verify -noverify -binary -inform DER -in @token -out @content");
        run("cms -sign -binary -nodetach -cades -md sha256 -in @content -econtent_type \
             1.2.840.113549.1.9.16.1.4 -signer @tsa.pem -inkey @tsa.key -outform DER -out @token");
        let token = fs::read(file("token")).unwrap();
        // The status is that it is granted.
        let body = [&[0x30, 3, 2, 1, 0], token.as_slice()].concat();
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[0x30, 0x82], length.as_slice(), &body].concat()
    }

    /// Whether `openssl ts` finds that an answer is to data.
    #[must_use]
    pub fn is_verified(&self, data: &[u8], answer: &[u8]) -> bool {
        let [of_data, of_answer] = ["data", "answer"].map(|name| self.folder.join(name));
        fs::write(&of_data, data).unwrap();
        fs::write(&of_answer, answer).unwrap();
        let ran = Command::new("openssl")
            .args(["ts", "-verify", "-data"])
            .args([&of_data, Path::new("-in"), &of_answer, Path::new("-CAfile"), &self.ca_file()])
            .output()
            .expect("the command openssl");
        ran.status.success()
    }

    /// Answers requests over HTTP, as many as are to come, with this status. Returns the address.
    #[must_use]
    pub fn serve(&self, status: u16, requests: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, authority) = (listener.local_addr().unwrap(), self.clone());
        thread::spawn(move || {
            for stream in listener.incoming().take(requests) {
                // Who asks may have gone away meanwhile.
                let _ = stream.and_then(|stream| authority.answer_over_http(stream, status));
            }
        });
        address
    }

    fn answer_over_http(&self, mut stream: TcpStream, status: u16) -> std::io::Result<()> {
        let mut reader = BufReader::new(&stream);
        let (mut length, mut is_query, mut line) = (0, false, String::new());
        while reader.read_line(&mut line)? > 2 {
            let header = line.to_ascii_lowercase();
            is_query |= header.trim() == "content-type: application/timestamp-query";
            if let Some(text) = header.strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut request = vec![0; length];
        reader.read_exact(&mut request)?;
        let status = if is_query { status } else { 415 };
        let body = if status == 200 { self.answer(&request) } else { Vec::new() };
        write!(
            stream,
            "HTTP/1.1 {status} Status\r\nContent-Type: application/timestamp-reply\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)
    }
}
