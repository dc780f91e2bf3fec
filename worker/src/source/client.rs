//! A plan and its mounted secrets as librdkafka properties.
//!
//! Must never put a secret's value into an error or a log: only its name and key.

use std::path::Path;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use sluice_crds::plan::{KafkaAuthentication, KafkaPlan, SecretFile, SourcePlan};

use super::context::SourceContext;
use super::error::{SourceError, describe};
use super::fetch;

/// Properties of a client that asks for metadata and offsets: all but the group. `job` names the client to the brokers.
pub(super) fn client_config(kafka: &KafkaPlan, secrets: &Path, job: &str) -> Result<ClientConfig, SourceError> {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    for (property, value) in [
        ("bootstrap.servers", kafka.bootstrap_servers.join(",").as_str()),
        ("client.id", &format!("sluice-{job}")),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // Out of range is a state that a person or the plan decides about, never a silent jump.
        ("auto.offset.reset", "error"),
        // ListOffsets obeys it too: ends are last stable offsets.
        ("isolation.level", "read_committed"),
        ("check.crcs", "true"),
        ("socket.keepalive.enable", "true"),
        // A broker that comes back is seen within two seconds (the default is ten).
        ("reconnect.backoff.max.ms", "2000"),
        ("log.connection.close", "false"),
    ] {
        config.set(property, value);
    }
    let secret = |file: &SecretFile| read_secret(&kafka.connection, secrets, file);
    tls(&mut config, kafka, &secret)?;
    authentication(&mut config, kafka, &secret)?;
    for (property, value) in &kafka.config {
        config.set(property, value);
    }
    Ok(config)
}

/// Properties of the reader, a member of the group, for which librdkafka holds about `prefetch` bytes.
pub(super) fn reader_config(
    source: &SourcePlan,
    secrets: &Path,
    job: &str,
    prefetch: u64,
) -> Result<ClientConfig, SourceError> {
    let mut config = ClientConfig::new();
    for (property, value) in [
        ("group.id", source.group_id.as_str()),
        ("partition.assignment.strategy", "cooperative-sticky"),
        // How long the partitions of a worker that crashed wait for another one.
        ("session.timeout.ms", "10000"),
        // The offset of an end of partition counts transaction markers, which no record shows.
        ("enable.partition.eof", "true"),
        ("topic.metadata.refresh.interval.ms", "30000"),
        ("statistics.interval.ms", "5000"),
    ] {
        config.set(property, value);
    }
    for (property, value) in fetch::properties(prefetch) {
        config.set(property, value);
    }
    let client = client_config(&source.kafka, secrets, job)?;
    // The connection's properties come last: they may change a default, and those that must not change were refused before.
    for (property, value) in client.config_map() {
        config.set(property, value);
    }
    config.set_log_level(RDKafkaLogLevel::Info);
    Ok(config)
}

/// A client of this configuration.
pub(super) fn create<T>(connection: &str, config: &ClientConfig, context: SourceContext) -> Result<T, SourceError>
where
    T: FromClientConfigAndContext<SourceContext>,
{
    config.create_with_context(context).map_err(|error| {
        let connection = connection.to_owned();
        match error {
            KafkaError::ClientConfig(_, problem, property, _) => {
                SourceError::Property { connection, property, problem }
            }
            other => SourceError::Client { connection, problem: describe(&other) },
        }
    })
}

fn tls(
    config: &mut ClientConfig,
    kafka: &KafkaPlan,
    secret: &impl Fn(&SecretFile) -> Result<String, SourceError>,
) -> Result<(), SourceError> {
    let sasl = !matches!(kafka.authentication, None | Some(KafkaAuthentication::Tls { .. }));
    let encrypted = kafka.tls.is_some() || matches!(kafka.authentication, Some(KafkaAuthentication::Tls { .. }));
    let protocol = match (encrypted, sasl) {
        (false, false) => "plaintext",
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &kafka.tls {
        let verify = if tls.hostname_verification { "https" } else { "none" };
        config.set("ssl.endpoint.identification.algorithm", verify);
        let certificates: Vec<String> = tls.trusted_certificates.iter().map(secret).collect::<Result<_, _>>()?;
        if !certificates.is_empty() {
            config.set("ssl.ca.pem", certificates.join("\n"));
        }
    }
    Ok(())
}

fn authentication(
    config: &mut ClientConfig,
    kafka: &KafkaPlan,
    secret: &impl Fn(&SecretFile) -> Result<String, SourceError>,
) -> Result<(), SourceError> {
    let (mechanism, username, password) = match &kafka.authentication {
        None => return Ok(()),
        Some(KafkaAuthentication::Tls { certificate, key }) => {
            config.set("ssl.certificate.pem", secret(certificate)?);
            config.set("ssl.key.pem", secret(key)?);
            return Ok(());
        }
        Some(KafkaAuthentication::Plain { username, password }) => ("PLAIN", username, password),
        Some(KafkaAuthentication::ScramSha256 { username, password }) => ("SCRAM-SHA-256", username, password),
        Some(KafkaAuthentication::ScramSha512 { username, password }) => ("SCRAM-SHA-512", username, password),
    };
    config.set("sasl.mechanism", mechanism);
    config.set("sasl.username", username);
    config.set("sasl.password", secret(password)?);
    Ok(())
}

/// The text of a mounted key. The line break that editors and `echo` leave at the end is not part of it.
fn read_secret(connection: &str, secrets: &Path, file: &SecretFile) -> Result<String, SourceError> {
    match std::fs::read_to_string(secrets.join(&file.secret_name).join(&file.key)) {
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(source) => Err(SourceError::Secret {
            connection: connection.to_owned(),
            secret: file.secret_name.clone(),
            key: file.key.clone(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::consumer::BaseConsumer;
    use sluice_crds::plan::TlsPlan;
    use std::collections::BTreeMap;

    fn file(secret_name: &str, key: &str) -> SecretFile {
        SecretFile { secret_name: secret_name.into(), key: key.into() }
    }

    fn plan() -> KafkaPlan {
        KafkaPlan {
            connection: "onprem".into(),
            bootstrap_servers: vec!["a:9092".into(), "b:9092".into()],
            tls: Some(TlsPlan {
                trusted_certificates: vec![file("ca", "one.crt"), file("ca", "two.crt")],
                hostname_verification: true,
            }),
            authentication: Some(KafkaAuthentication::ScramSha512 {
                username: "etl".into(),
                password: file("etl-user", "password"),
            }),
            config: BTreeMap::from([("fetch.wait.max.ms".into(), "100".into())]),
        }
    }

    #[test]
    fn a_plan_and_its_secrets_become_properties() {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [("ca/one.crt", "ONE\n"), ("ca/two.crt", "TWO\n"), ("etl-user/password", "s3cret\n")] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let config = client_config(&plan(), folder.path(), "ns.job").unwrap();
        for (property, value) in [
            ("bootstrap.servers", "a:9092,b:9092"),
            ("client.id", "sluice-ns.job"),
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.pem", "ONE\nTWO"),
            ("ssl.endpoint.identification.algorithm", "https"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "etl"),
            ("sasl.password", "s3cret"),
            ("isolation.level", "read_committed"),
            ("fetch.wait.max.ms", "100"),
        ] {
            assert_eq!(config.get(property), Some(value), "{property}");
        }
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn a_missing_secret_is_named_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let error = client_config(&plan(), folder.path(), "j").unwrap_err().to_string();
        assert!(error.contains("key `one.crt` of secret `ca`") && error.contains("`onprem`"), "{error}");
    }

    #[test]
    fn a_refused_property_is_named_without_its_value() {
        let kafka = KafkaPlan {
            tls: None,
            authentication: None,
            config: BTreeMap::from([("fetch.wait.max.ms".into(), "soon".into())]),
            ..plan()
        };
        let config = client_config(&kafka, Path::new("/nonexistent"), "j").unwrap();
        let error = create::<BaseConsumer<SourceContext>>("onprem", &config, SourceContext::default()).err().unwrap();
        assert!(matches!(&error, SourceError::Property { property, .. } if property == "fetch.wait.max.ms"), "{error}");
        assert!(!error.to_string().contains("soon"), "{error}");
    }
}
