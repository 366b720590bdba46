//! Contexts of OpenSSL that verify.

use std::path::Path;

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslContext, SslContextBuilder, SslMethod, SslVerifyMode, SslVersion};

use super::refusal::{Refusal, judge};
use super::{Identity, TlsError, TlsSettings, system_ca_file};
use crate::model::Secret;

/// A context for clients, to be finished by who uses it, and where it says why a certificate was refused. Whoever opens a
/// connection says by which address or name the server must be known; `names` are host names that will do in place of
/// an address.
pub fn context(settings: &TlsSettings, names: &[String]) -> Result<(SslContextBuilder, Refusal), TlsError> {
    let failed = |error: ErrorStack| TlsError(format!("OpenSSL cannot be used: {}", reason(&error)));
    let mut builder = SslContext::builder(SslMethod::tls_client()).map_err(failed)?;
    builder
        .set_min_proto_version(Some(SslVersion::TLS1_2))
        .map_err(failed)?;
    let refusal = Refusal::default();
    if settings.insecure_skip_verify {
        builder.set_verify(SslVerifyMode::NONE);
    } else {
        trust(&mut builder, settings.ca_file.as_deref())?;
        let (names, said) = (names.to_vec(), refusal.clone());
        builder.set_verify_callback(SslVerifyMode::PEER, move |is_trusted, chain| {
            is_trusted || judge(chain, &names, &said)
        });
    }
    if let Some(identity) = &settings.identity {
        identify(&mut builder, identity)?;
    }
    Ok((builder, refusal))
}

fn trust(builder: &mut SslContextBuilder, ca_file: Option<&Path>) -> Result<(), TlsError> {
    let system = || {
        system_ca_file().ok_or_else(|| {
            TlsError(
                "no authorities are known that could vouch for a server: set tls.ca_file, or install the system's \
                 (Debian: ca-certificates)"
                    .to_owned(),
            )
        })
    };
    let file = ca_file.map_or_else(system, |file| Ok(file.to_owned()))?;
    builder
        .set_ca_file(&file)
        .map_err(|error| unusable(&file, "certificates of authorities", &error))
}

fn identify(builder: &mut SslContextBuilder, identity: &Identity) -> Result<(), TlsError> {
    let Identity {
        certificate_file,
        key_file,
        key_password,
    } = identity;
    builder
        .set_certificate_chain_file(certificate_file)
        .map_err(|error| unusable(certificate_file, "a certificate", &error))?;
    let key = private_key(key_file, key_password.as_ref())?;
    builder
        .set_private_key(&key)
        .and_then(|()| builder.check_private_key())
        .map_err(|error| {
            let certificate = certificate_file.display();
            let why = reason(&error);
            TlsError(format!(
                "{}: is not the key of the certificate in {certificate}: {why}",
                key_file.display()
            ))
        })
}

fn private_key(file: &Path, password: Option<&Secret>) -> Result<PKey<Private>, TlsError> {
    let pem = std::fs::read(file).map_err(|error| TlsError(format!("cannot read {}: {error}", file.display())))?;
    let mut was_asked = false;
    // With a callback always: OpenSSL would ask a person on the terminal.
    let key = PKey::private_key_from_pem_callback(&pem, |buffer| {
        was_asked = true;
        let password = password.map_or("", Secret::expose).as_bytes();
        let room = buffer.get_mut(..password.len()).ok_or_else(ErrorStack::get)?;
        room.copy_from_slice(password);
        Ok(password.len())
    });
    key.map_err(|error| match (was_asked, password) {
        (true, None) => TlsError(format!(
            "{}: the key is encrypted and no password for it is set",
            file.display()
        )),
        (true, Some(_)) => TlsError(format!("{}: the key's password is wrong", file.display())),
        (false, _) => unusable(file, "a private key", &error),
    })
}

fn unusable(file: &Path, what: &str, error: &ErrorStack) -> TlsError {
    TlsError(format!("{}: no PEM file of {what}: {}", file.display(), reason(error)))
}

/// The innermost of OpenSSL's reasons: the others say where in OpenSSL it was noticed.
pub(super) fn reason(error: &ErrorStack) -> String {
    let first = error.errors().first();
    first
        .and_then(|error| error.reason())
        .map_or_else(|| error.to_string(), str::to_owned)
}
