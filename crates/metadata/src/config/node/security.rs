//! Security.

use crate::config::definition::{
    Check, Definition, boolean, class, class_or_null, double, int, int_or_null, list, long,
    password_or_null, short, string, string_or_null,
};

pub(in crate::config) static SECURITY: &[Definition] = &[
    string("authorizer.class.name", "")
        .doc("The authorizer; empty means that everybody may do everything."),
    string("sasl.mechanism.controller.protocol", "GSSAPI")
        .doc("SASL mechanism between nodes and controllers."),
    int("sasl.server.max.receive.size", "524288")
        .doc("Most bytes that are read before a client is authenticated."),
    string_or_null("security.providers").doc("Java security providers."),
    class(
        "principal.builder.class",
        "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder",
    )
    .per_broker()
    .doc("Class that makes a principal of a connection. Java plug-ins are not loaded here."),
    string("ssl.client.auth", "none")
        .check(Check::OneOf(&["required", "requested", "none"]))
        .per_broker()
        .doc("Whether clients must show a certificate: `required`, `requested` or `none`."),
    string("ssl.principal.mapping.rules", "DEFAULT")
        .doc("Rules from a certificate's name to a principal's."),
    boolean("ssl.allow.dn.changes", "false")
        .doc("Whether a new key store may carry another distinguished name."),
    boolean("ssl.allow.san.changes", "false")
        .doc("Whether a new key store may carry other alternative names."),
    string("ssl.protocol", "TLSv1.3")
        .per_broker()
        .doc("TLS version to prefer."),
    string_or_null("ssl.provider")
        .per_broker()
        .doc("Java provider of TLS."),
    list("ssl.enabled.protocols", "TLSv1.2,TLSv1.3")
        .check(Check::Items {
            of: None,
            may_be_empty: true,
        })
        .per_broker()
        .doc("TLS versions that are accepted."),
    string("ssl.keystore.type", "JKS")
        .per_broker()
        .doc("Format of the key store."),
    string_or_null("ssl.keystore.location")
        .per_broker()
        .doc("File of the key store."),
    password_or_null("ssl.keystore.password")
        .per_broker()
        .doc("Password of the key store."),
    password_or_null("ssl.key.password")
        .per_broker()
        .doc("Password of the private key."),
    password_or_null("ssl.keystore.key")
        .per_broker()
        .doc("The private key itself, as PEM."),
    password_or_null("ssl.keystore.certificate.chain")
        .per_broker()
        .doc("The certificate chain itself, as PEM."),
    string("ssl.truststore.type", "JKS")
        .per_broker()
        .doc("Format of the trust store."),
    string_or_null("ssl.truststore.location")
        .per_broker()
        .doc("File of the trust store."),
    password_or_null("ssl.truststore.password")
        .per_broker()
        .doc("Password of the trust store."),
    password_or_null("ssl.truststore.certificates")
        .per_broker()
        .doc("The trusted certificates themselves, as PEM."),
    string("ssl.keymanager.algorithm", "SunX509")
        .per_broker()
        .doc("Java key manager algorithm."),
    string("ssl.trustmanager.algorithm", "PKIX")
        .per_broker()
        .doc("Java trust manager algorithm."),
    string("ssl.endpoint.identification.algorithm", "https")
        .per_broker()
        .doc("How the name of the other side is checked; empty means not at all."),
    string_or_null("ssl.secure.random.implementation")
        .per_broker()
        .doc("Java source of random numbers for TLS."),
    list("ssl.cipher.suites", "")
        .check(Check::Items {
            of: None,
            may_be_empty: true,
        })
        .per_broker()
        .doc("TLS cipher suites that are accepted; empty means all."),
    class_or_null("ssl.engine.factory.class")
        .per_broker()
        .doc("Class that makes TLS engines. Java plug-ins are not loaded here."),
    string("sasl.mechanism.inter.broker.protocol", "GSSAPI")
        .per_broker()
        .doc("SASL mechanism between brokers."),
    list("sasl.enabled.mechanisms", "GSSAPI")
        .check(Check::Items {
            of: None,
            may_be_empty: true,
        })
        .per_broker()
        .doc("SASL mechanisms that clients may use."),
    class_or_null("sasl.server.callback.handler.class")
        .doc("Class that answers SASL callbacks of the server. Java plug-ins are not loaded here."),
    list("sasl.kerberos.principal.to.local.rules", "DEFAULT")
        .check(Check::Items {
            of: None,
            may_be_empty: true,
        })
        .per_broker()
        .doc("Rules from a Kerberos principal to a short name."),
    password_or_null("sasl.jaas.config")
        .per_broker()
        .doc("Login settings of a SASL connection, in JAAS form."),
    class_or_null("sasl.client.callback.handler.class")
        .doc("Class that answers SASL callbacks of a client. Java plug-ins are not loaded here."),
    class_or_null("sasl.login.class").doc("Class that logs in. Java plug-ins are not loaded here."),
    class_or_null("sasl.login.callback.handler.class")
        .doc("Class that answers callbacks of the login. Java plug-ins are not loaded here."),
    string_or_null("sasl.kerberos.service.name")
        .per_broker()
        .doc("Kerberos service name of the brokers."),
    string("sasl.kerberos.kinit.cmd", "/usr/bin/kinit")
        .per_broker()
        .doc("Path of `kinit`."),
    double("sasl.kerberos.ticket.renew.window.factor", "0.8")
        .per_broker()
        .doc("Share of a ticket's life after which it is renewed."),
    double("sasl.kerberos.ticket.renew.jitter", "0.05")
        .per_broker()
        .doc("Random share that is added to that time."),
    long("sasl.kerberos.min.time.before.relogin", "60000")
        .per_broker()
        .doc("Shortest time between two Kerberos logins."),
    double("sasl.login.refresh.window.factor", "0.8")
        .per_broker()
        .doc("Share of a token's life after which it is renewed."),
    double("sasl.login.refresh.window.jitter", "0.05")
        .per_broker()
        .doc("Random share that is added to that time."),
    short("sasl.login.refresh.min.period.seconds", "60")
        .per_broker()
        .doc("Shortest time between two token renewals."),
    short("sasl.login.refresh.buffer.seconds", "300")
        .per_broker()
        .doc("Time before a token's end that is kept free."),
    int_or_null("sasl.login.connect.timeout.ms").doc("Connect timeout to the token's issuer."),
    int_or_null("sasl.login.read.timeout.ms").doc("Read timeout from the token's issuer."),
    long("sasl.login.retry.backoff.max.ms", "10000")
        .doc("Longest pause between tries to reach the token's issuer."),
    long("sasl.login.retry.backoff.ms", "100")
        .doc("First pause between tries to reach the token's issuer."),
    class(
        "sasl.oauthbearer.jwt.retriever.class",
        "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever",
    )
    .doc("Class that fetches tokens. Java plug-ins are not loaded here."),
    class(
        "sasl.oauthbearer.jwt.validator.class",
        "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator",
    )
    .doc("Class that checks tokens. Java plug-ins are not loaded here."),
    string_or_null("sasl.oauthbearer.scope").doc("Scope that is asked for."),
    string_or_null("sasl.oauthbearer.client.credentials.client.id")
        .doc("Client id for the client credentials grant."),
    password_or_null("sasl.oauthbearer.client.credentials.client.secret")
        .doc("Client secret for the client credentials grant."),
    string("sasl.oauthbearer.assertion.algorithm", "RS256")
        .check(Check::OneOfAnyCase(&["ES256", "RS256"]))
        .doc("Algorithm that signs an assertion."),
    string_or_null("sasl.oauthbearer.assertion.claim.aud").doc("Audience of an assertion."),
    int("sasl.oauthbearer.assertion.claim.exp.seconds", "300")
        .between(0, 86400)
        .doc("How long an assertion is valid."),
    string_or_null("sasl.oauthbearer.assertion.claim.iss").doc("Issuer of an assertion."),
    boolean("sasl.oauthbearer.assertion.claim.jti.include", "false")
        .doc("Whether an assertion carries a unique id."),
    int("sasl.oauthbearer.assertion.claim.nbf.seconds", "60")
        .between(0, 3600)
        .doc("How far in the past an assertion begins to be valid."),
    string_or_null("sasl.oauthbearer.assertion.claim.sub").doc("Subject of an assertion."),
    string_or_null("sasl.oauthbearer.assertion.file").doc("File of a ready assertion."),
    string_or_null("sasl.oauthbearer.assertion.private.key.file")
        .doc("File of the key that signs assertions."),
    password_or_null("sasl.oauthbearer.assertion.private.key.passphrase")
        .doc("Passphrase of that key."),
    string_or_null("sasl.oauthbearer.assertion.template.file")
        .doc("File with more claims for an assertion."),
    string("sasl.oauthbearer.scope.claim.name", "scope")
        .doc("Name of the claim that holds the scope."),
    string("sasl.oauthbearer.sub.claim.name", "sub")
        .doc("Name of the claim that holds the subject."),
    string_or_null("sasl.oauthbearer.token.endpoint.url").doc("Where tokens are fetched."),
    string_or_null("sasl.oauthbearer.jwks.endpoint.url")
        .doc("Where the keys are fetched that tokens are checked with."),
    long("sasl.oauthbearer.jwks.endpoint.refresh.ms", "3600000")
        .doc("How often those keys are fetched again."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", "100")
        .doc("First pause between tries to fetch those keys."),
    long(
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
        "10000",
    )
    .doc("Longest pause between tries to fetch those keys."),
    int("sasl.oauthbearer.clock.skew.seconds", "30").doc("By how much clocks may differ."),
    list("sasl.oauthbearer.expected.audience", "")
        .check(Check::Items {
            of: None,
            may_be_empty: true,
        })
        .doc("Audiences that a token may name."),
    string_or_null("sasl.oauthbearer.expected.issuer").doc("Issuer that a token must name."),
    password_or_null("delegation.token.secret.key")
        .doc("Secret that signs delegation tokens; the same on all nodes."),
    long("delegation.token.max.lifetime.ms", "604800000")
        .at_least(1)
        .doc("Longest life of a delegation token."),
    long("delegation.token.expiry.time.ms", "86400000")
        .at_least(1)
        .doc("Life of a delegation token between renewals."),
    long("delegation.token.expiry.check.interval.ms", "3600000")
        .at_least(1)
        .doc("How often expired delegation tokens are removed."),
];
