//! Topics: the kafka connections that reach them.

use std::collections::BTreeMap;

use crate::connection::{KafkaAuthenticationSpec, KafkaAuthenticationType, KafkaConnection};
use crate::plan::{KafkaAuthentication, KafkaPlan, SecretFile, TlsPlan};
use crate::reference::{LocalRef, ObjectKey, PasswordRef};

use super::{Place, ResolveError, Resolver};

const BY_SPEC: &str = "remove it and use the field of the Connection instead";
const BY_JOB: &str = "remove it and use the fields of the StreamingJob's source instead";
const BY_LEDGER: &str = "remove it, because exactly once depends on its value";
const BY_BUDGET: &str = "remove it and set workers.resources.limits.memory instead";
const BY_WORKER: &str = "remove it, the worker sets it itself";

/// The properties of librdkafka that a worker sets, in all their spellings, and what to do instead.
const OWNED: [(&str, &str); 37] = [
    ("bootstrap.servers", BY_SPEC),
    ("metadata.broker.list", BY_SPEC),
    ("security.protocol", BY_SPEC),
    ("ssl.ca.location", BY_SPEC),
    ("ssl.ca.pem", BY_SPEC),
    ("ssl_ca", BY_SPEC),
    ("ssl.ca.certificate.stores", BY_SPEC),
    ("ssl.certificate.location", BY_SPEC),
    ("ssl.certificate.pem", BY_SPEC),
    ("ssl_certificate", BY_SPEC),
    ("ssl.key.location", BY_SPEC),
    ("ssl.key.pem", BY_SPEC),
    ("ssl.key.password", BY_SPEC),
    ("ssl_key", BY_SPEC),
    ("ssl.keystore.location", BY_SPEC),
    ("ssl.keystore.password", BY_SPEC),
    ("ssl.endpoint.identification.algorithm", BY_SPEC),
    ("enable.ssl.certificate.verification", BY_SPEC),
    ("enable.sasl.oauthbearer.unsecure.jwt", BY_SPEC),
    ("group.id", BY_JOB),
    ("auto.offset.reset", BY_JOB),
    ("group.instance.id", BY_LEDGER),
    ("group.protocol", BY_LEDGER),
    ("group.remote.assignor", BY_LEDGER),
    ("partition.assignment.strategy", BY_LEDGER),
    ("isolation.level", BY_LEDGER),
    ("enable.partition.eof", BY_LEDGER),
    ("enable.auto.commit", BY_LEDGER),
    ("auto.commit.enable", BY_LEDGER),
    ("auto.commit.interval.ms", BY_LEDGER),
    ("enable.auto.offset.store", BY_LEDGER),
    ("offset.store.method", BY_LEDGER),
    ("offset.store.path", BY_LEDGER),
    ("queued.max.messages.kbytes", BY_BUDGET),
    ("statistics.interval.ms", BY_WORKER),
    // It loads code into the worker.
    ("plugin.library.paths", BY_WORKER),
    ("ssl.providers", BY_WORKER),
];

impl Resolver<'_> {
    /// The kafka connection of a name.
    pub(super) fn kafka(&mut self, reference: &LocalRef, at: &Place) -> Option<KafkaPlan> {
        let key = ObjectKey::new(&self.key.namespace, &reference.name);
        let Some(connection) = self.connections.get(&key) else {
            return self.push(ResolveError::ConnectionNotFound { at: at.clone(), connection: key });
        };
        let Some(kafka) = &connection.spec.kafka else {
            return self.push(ResolveError::WrongConnection { at: at.clone(), connection: key, wanted: "kafka" });
        };
        let at = Place::new("Connection", key, "spec.kafka");
        let registry = at.child("schemaRegistry");
        self.later(kafka.schema_registry.is_some(), registry, "a schema registry", "remove it");
        self.servers(kafka, &at);
        let config = kafka.config.clone().unwrap_or_default();
        self.owned_properties(&config, &at.child("config"));
        let authentication = match &kafka.authentication {
            Some(spec) => Some(self.authentication(spec, kafka.tls.is_some(), &at.child("authentication"))?),
            None => None,
        };
        let tls = kafka.tls.as_ref().map(|tls| TlsPlan {
            trusted_certificates: self.certificates(tls.trusted_certificates.as_deref(), &at.child("tls")),
            hostname_verification: tls.hostname_verification.unwrap_or(true),
        });
        let bootstrap_servers = kafka.bootstrap_servers.clone();
        Some(KafkaPlan { connection: reference.name.clone(), bootstrap_servers, tls, authentication, config })
    }

    fn servers(&mut self, kafka: &KafkaConnection, at: &Place) {
        let at = at.child("bootstrapServers");
        if kafka.bootstrap_servers.is_empty() {
            let at = at.clone();
            self.errors.push(ResolveError::FieldMissing { at, needed_by: "a kafka Connection" });
        }
        for (index, server) in kafka.bootstrap_servers.iter().enumerate() {
            let valid = server.rsplit_once(':').is_some_and(|(host, port)| {
                let clean = !host.is_empty() && !host.contains(['/', ',', ' ']);
                clean && port.parse::<u16>().is_ok_and(|port| port > 0)
            });
            if !valid {
                let at = at.element(index);
                self.errors.push(ResolveError::ServerInvalid { at, server: server.clone() });
            }
        }
    }

    fn owned_properties(&mut self, config: &BTreeMap<String, String>, at: &Place) {
        for property in config.keys() {
            let owned = OWNED.iter().find(|(name, _)| name == property).map(|(_, mend)| *mend);
            let sasl = property.starts_with("sasl.").then_some(BY_SPEC);
            if let Some(mend) = owned.or(sasl) {
                let (at, property) = (at.clone(), property.clone());
                self.errors.push(ResolveError::PropertyOwned { at, property, mend });
            }
        }
    }

    fn authentication(&mut self, spec: &KafkaAuthenticationSpec, tls: bool, at: &Place) -> Option<KafkaAuthentication> {
        match spec.type_ {
            KafkaAuthenticationType::Tls => {
                if !tls {
                    self.errors.push(ResolveError::TlsNeeded { at: at.clone(), type_: "tls" });
                }
                let at = at.child("certificateAndKey");
                let Some(file) = &spec.certificate_and_key else {
                    return self.push(ResolveError::FieldMissing { at, needed_by: "authentication of type tls" });
                };
                let keys = [("certificate", file.certificate.as_str()), ("key", &file.key)];
                let [certificate, key] = self.secret_files(&file.secret_name, keys, &at);
                Some(KafkaAuthentication::Tls { certificate, key })
            }
            KafkaAuthenticationType::Plain => {
                let (username, password) = self.login(spec, at)?;
                Some(KafkaAuthentication::Plain { username, password })
            }
            KafkaAuthenticationType::ScramSha256 => {
                let (username, password) = self.login(spec, at)?;
                Some(KafkaAuthentication::ScramSha256 { username, password })
            }
            KafkaAuthenticationType::ScramSha512 => {
                let (username, password) = self.login(spec, at)?;
                Some(KafkaAuthentication::ScramSha512 { username, password })
            }
            KafkaAuthenticationType::Oauthbearer => self.later_login(at, "authentication of type oauthbearer"),
            KafkaAuthenticationType::AwsMskIam => self.later_login(at, "authentication of type aws-msk-iam"),
        }
    }

    fn later_login<T>(&mut self, at: &Place, what: &'static str) -> Option<T> {
        let mend = "use tls, plain, scram-sha-256 or scram-sha-512";
        self.push(ResolveError::NotSupportedYet { at: at.child("type"), what, mend })
    }

    fn login(&mut self, spec: &KafkaAuthenticationSpec, at: &Place) -> Option<(String, SecretFile)> {
        let needed_by = "authentication with a password";
        if spec.username.is_none() {
            self.errors.push(ResolveError::FieldMissing { at: at.child("username"), needed_by });
        }
        let Some(PasswordRef { secret_name, password }) = &spec.password_secret else {
            return self.push(ResolveError::FieldMissing { at: at.child("passwordSecret"), needed_by });
        };
        let [file] = self.secret_files(secret_name, [("password", password)], &at.child("passwordSecret"));
        Some((spec.username.clone()?, file))
    }
}
