//! The files of Secrets. A name becomes a part of a path where the file is mounted, so that nothing but a name gets into a plan.

use crate::plan::{S3Credentials, SecretFile};
use crate::reference::{CertificateRef, CredentialsRef, is_secret_key, is_secret_name};

use super::{Place, ResolveError, Resolver};

impl Resolver<'_> {
    /// Keys of one Secret, each with the member of `at` that names it.
    pub(super) fn secret_files<const N: usize>(
        &mut self,
        secret_name: &str,
        keys: [(&str, &str); N],
        at: &Place,
    ) -> [SecretFile; N] {
        if !is_secret_name(secret_name) {
            self.errors.push(ResolveError::SecretNameInvalid { at: at.child("secretName") });
        }
        keys.map(|(member, key)| {
            if !is_secret_key(key) {
                self.errors.push(ResolveError::SecretKeyInvalid { at: at.child(member) });
            }
            SecretFile { secret_name: secret_name.to_owned(), key: key.to_owned() }
        })
    }

    /// Trusted certificates; `at` is the place of the client's TLS.
    pub(super) fn certificates(&mut self, specs: Option<&[CertificateRef]>, at: &Place) -> Vec<SecretFile> {
        let at = at.child("trustedCertificates");
        let certificates = specs.unwrap_or_default().iter().enumerate().flat_map(|(index, spec)| {
            self.secret_files(&spec.secret_name, [("certificate", &spec.certificate)], &at.element(index))
        });
        certificates.collect()
    }

    pub(super) fn credentials(&mut self, spec: &CredentialsRef, at: &Place) -> S3Credentials {
        let keys = [("accessKeyId", spec.access_key_id.as_str()), ("secretAccessKey", &spec.secret_access_key)];
        let [access_key_id, secret_access_key] = self.secret_files(&spec.secret_name, keys, at);
        S3Credentials { access_key_id, secret_access_key }
    }
}
