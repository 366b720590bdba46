//! Why a server's certificate is refused, in words.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use openssl::nid::Nid;
use openssl::x509::{GeneralNameRef, X509NameRef, X509Ref, X509StoreContextRef, X509VerifyResult};

/// Why the last certificate was refused that was, and what to do: the rest of a sentence about the server.
#[derive(Clone, Default, Debug)]
pub struct Refusal(Arc<Mutex<Option<String>>>);

impl Refusal {
    pub fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, why: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }
}

/// OpenSSL's numbers of what is wrong with a certificate (`X509_V_ERR_…`).
mod code {
    pub const NOT_YET_VALID: i32 = 9;
    pub const EXPIRED: i32 = 10;
    /// Unknown issuer, self-signed, or a chain that ends with nobody known.
    pub const UNTRUSTED: [i32; 5] = [2, 18, 19, 20, 21];
    pub const HOST_MISMATCH: i32 = 62;
    pub const ADDRESS_MISMATCH: i32 = 64;
}

/// What OpenSSL asks where it would refuse: `true` lets the certificate pass. It does where it is for another address, but
/// for one of the names.
pub(super) fn judge(chain: &mut X509StoreContextRef, names: &[String], refusal: &Refusal) -> bool {
    let error = chain.error();
    let Some(certificate) = chain.current_cert() else {
        refusal.put(format!("its certificate is refused: {}", error.error_string()));
        return false;
    };
    if error.as_raw() == code::ADDRESS_MISMATCH && names.iter().any(|name| is_for(certificate, name)) {
        chain.set_error(X509VerifyResult::OK);
        return true;
    }
    refusal.put(sentence(error, certificate));
    false
}

fn sentence(error: X509VerifyResult, certificate: &X509Ref) -> String {
    let subject = common_name(certificate.subject_name());
    match error.as_raw() {
        code::EXPIRED => format!(
            "the certificate of {subject} expired on {}: renew it, or set this machine's clock",
            certificate.not_after()
        ),
        code::NOT_YET_VALID => format!(
            "the certificate of {subject} is not valid before {}: set this machine's clock",
            certificate.not_before()
        ),
        code::HOST_MISMATCH | code::ADDRESS_MISMATCH => format!(
            "its certificate is for {}, not for the host that was asked: go there by a name that it has, or have it made \
             for this one",
            names_of(certificate)
        ),
        number if code::UNTRUSTED.contains(&number) => format!(
            "its certificate comes from {}, which is not trusted here: set ca_file to the certificate of the authority \
             that signed it",
            common_name(certificate.issuer_name())
        ),
        _ => format!("the certificate of {subject} is refused: {}", error.error_string()),
    }
}

/// As OpenSSL compares names: in any case, and a star stands for the first label.
fn is_for(certificate: &X509Ref, host: &str) -> bool {
    let names = certificate.subject_alt_names();
    names.is_some_and(|names| {
        let mut dns_names = names.iter().filter_map(GeneralNameRef::dnsname);
        dns_names.any(|name| covers(name, host))
    })
}

fn covers(name: &str, host: &str) -> bool {
    let below_star = name.strip_prefix("*.").filter(|rest| rest.contains('.'));
    let tail = host.split_once('.').filter(|(label, _)| !label.is_empty());
    name.eq_ignore_ascii_case(host)
        || below_star
            .zip(tail)
            .is_some_and(|(rest, (_, tail))| rest.eq_ignore_ascii_case(tail))
}

/// All names and addresses that a certificate is for.
fn names_of(certificate: &X509Ref) -> String {
    let Some(names) = certificate.subject_alt_names() else {
        return "nobody by name".to_owned();
    };
    let text = |name: &GeneralNameRef| {
        let address = name.ipaddress().and_then(address_text);
        name.dnsname().map(printable).or(address)
    };
    names.iter().filter_map(text).collect::<Vec<_>>().join(", ")
}

fn address_text(bytes: &[u8]) -> Option<String> {
    let four = |bytes: [u8; 4]| Ipv4Addr::from(bytes).to_string();
    let sixteen = |bytes: [u8; 16]| Ipv6Addr::from(bytes).to_string();
    let v4 = bytes.try_into().ok().map(four);
    v4.or_else(|| bytes.try_into().ok().map(sixteen))
}

/// Who a name is about.
fn common_name(name: &X509NameRef) -> String {
    let entry = [Nid::COMMONNAME, Nid::ORGANIZATIONNAME]
        .into_iter()
        .find_map(|nid| name.entries_by_nid(nid).next());
    let text = entry.and_then(|entry| entry.data().to_string().ok().map(|text| printable(&text)));
    text.unwrap_or_else(|| "somebody without a name".to_owned())
}

/// What others wrote goes into one line of ours.
fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label_and_never_for_a_whole_domain() {
        assert!(covers("Db.Example.org", "db.example.org"));
        assert!(covers("*.example.org", "db.example.org"));
        for (name, host) in [
            ("*.example.org", "example.org"),
            ("*.example.org", "a.b.example.org"),
            ("*.org", "example.org"),
            ("*.example.org", ".example.org"),
            ("db.example.org", "db.example.com"),
            ("*", "db"),
        ] {
            assert!(!covers(name, host), "{name} {host}");
        }
    }

    #[test]
    fn addresses_are_written_as_people_do() {
        assert_eq!(address_text(&[127, 0, 0, 1]), Some("127.0.0.1".into()));
        assert_eq!(address_text(&[0; 16]), Some("::".into()));
        assert_eq!(address_text(&[1, 2, 3]), None);
        assert_eq!(printable("a\nb"), "a?b");
    }
}
