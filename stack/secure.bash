# Part of `stack`: what `up --secure` adds. Sourced by it; every function here begins with secure_.
#
# Kafka gets three more listeners: SASL_SSL (SCRAM-SHA-256, SCRAM-SHA-512, PLAIN), SASL_PLAINTEXT (the same, without TLS) and
# SSL (client certificates). The plain listener stays, for the stack's own questions. Cassandra takes TLS, a password and
# a client certificate, and nothing else. A registry is there by http and by https. The certificates are made when the
# stack is first started, by openssl; with them some that are wrong, for tests.
# shellcheck shell=bash disable=SC2154 # variables of stack

secure_ports=(KAFKA_SASL_SSL_PORT KAFKA_SASL_PORT KAFKA_SSL_PORT REGISTRY_TLS_PORT)

is_secure() { [[ -e $state/with-secure ]]; }

# The ports, once; called whenever the state directory is opened.
secure_open() {
  is_secure || return 0
  [[ " ${port_names[*]} " == *" KAFKA_SSL_PORT "* ]] || port_names+=("${secure_ports[@]}")
  default_port+=([KAFKA_SASL_SSL_PORT]=29192 [KAFKA_SASL_PORT]=29193 [KAFKA_SSL_PORT]=29194 [REGISTRY_TLS_PORT]=28443)
}

# Users are made when Kafka's data directory is, so only an empty stack can become secure.
secure_choose() {
  is_secure && return 0
  ((${node_count:-1} == 1)) || misuse "--secure is for one node of each server"
  if compgen -G "$state/data/*" >/dev/null; then
    fail "this stack was started without --secure: run 'stack down --wipe' first, or set IOTPIPE_STACK_DIR to another directory"
  fi
  need openssl openssl
  touch "$state/with-secure"
  open_state
}

# ------------------------------------------------------------------------------------------------ certificates

secure_key() { # NAME: a key, and a request for a certificate
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
}

secure_authority() { # NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=iotpipe test $1" \
    -keyout "$1.key" -out "$1.pem"
}

secure_certificate() { # NAME AUTHORITY DAYS SUBJECT_ALT_NAME
  secure_key "$1"
  printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n' "$4" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days "$3" -extfile "$1.ext" -out "$1.crt"
  rm "$1.csr" "$1.ext"
}

secure_password() { # NAME [PASSWORD]
  local password=${2:-}
  [[ -n $password ]] || password=$(head -c 15 /dev/urandom | base64 | tr '+/' 'ab')
  printf '%s\n' "$password" >"$1.password"
}

# All files, in a directory that is there when they are complete. They are for their owner alone.
secure_make_files() {
  [[ -d $state/tls ]] && return 0
  local new=$state/tls.new here_names=DNS:localhost,IP:127.0.0.1
  rm -rf "$new"
  mkdir -m 700 "$new"
  if ! (
    set -e
    umask 077
    cd "$new"
    secure_authority ca
    secure_authority other-ca
    secure_certificate server ca 3650 "$here_names"
    secure_certificate client ca 3650 DNS:client
    # What is wrong with these: nobody knows who signed it, it is over, it is for somebody else.
    secure_certificate stranger other-ca 3650 "$here_names"
    secure_certificate expired ca -1 "$here_names"
    secure_certificate elsewhere ca 3650 DNS:elsewhere.example
    secure_password client
    openssl pkcs8 -topk8 -in client.key -out client-encrypted.key -passout file:client.password
    # As Kafka and Cassandra want them.
    cat server.key server.crt ca.pem >server.pem
    openssl pkcs12 -export -inkey server.key -in server.crt -certfile ca.pem -name server -passout pass:changeit -out server.p12
    "$(secure_keytool)" -importcert -noprompt -alias ca -file ca.pem -keystore ca.p12 -storetype PKCS12 -storepass changeit
    secure_password kafka
    # Cassandra makes this user by itself.
    secure_password cassandra cassandra
  ) >"$state/log/tls.log" 2>&1; then
    tail -n 15 "$state/log/tls.log" >&2
    fail "the certificates could not be made (what was said: $state/log/tls.log)"
  fi
  mv "$new" "$state/tls"
}

secure_keytool() {
  local beside
  beside=$(dirname "$(readlink -f "$(command -v "$java")")")/keytool
  if [[ -x $beside ]]; then printf '%s' "$beside"; else printf keytool; fi
}

# ------------------------------------------------------------------------------------------------ Kafka

# Arguments for formatting Kafka's directory: the user and the password for both kinds of SCRAM.
secure_kafka_format() {
  is_secure || return 0
  local kind
  for kind in SCRAM-SHA-256 SCRAM-SHA-512; do
    printf -- '--add-scram\n%s=[name=iot,password=%s]\n' "$kind" "$(<"$state/tls/kafka.password")"
  done
}

# Adds to the configuration that was rendered: of a property that is there twice the last one counts.
secure_kafka() { # INDEX
  is_secure || return 0
  secure_make_files
  local listeners mechanism listener module
  listeners=PLAINTEXT://$address:${port[KAFKA_PORT]},SASL_SSL://$address:${port[KAFKA_SASL_SSL_PORT]}
  listeners+=,SASL_PLAINTEXT://$address:${port[KAFKA_SASL_PORT]},SSL://$address:${port[KAFKA_SSL_PORT]}
  {
    printf '\n# up --secure\n'
    printf 'listeners=%s,CONTROLLER://%s:%s\n' "$listeners" "$address" "${port[KAFKA_CONTROLLER_PORT]}"
    printf 'advertised.listeners=%s\n' "$listeners"
    printf 'listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL\n'
    printf 'sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN\n'
    module=org.apache.kafka.common.security
    for listener in sasl_ssl sasl_plaintext; do
      for mechanism in scram-sha-256 scram-sha-512; do
        printf 'listener.name.%s.%s.sasl.jaas.config=%s.scram.ScramLoginModule required;\n' "$listener" "$mechanism" "$module"
      done
      printf 'listener.name.%s.plain.sasl.jaas.config=%s.plain.PlainLoginModule required user_iot="%s";\n' \
        "$listener" "$module" "$(<"$state/tls/kafka.password")"
    done
    printf 'ssl.keystore.type=PEM\nssl.keystore.location=tls/server.pem\n'
    printf 'ssl.truststore.type=PEM\nssl.truststore.location=tls/ca.pem\n'
    printf 'listener.name.ssl.ssl.client.auth=required\n'
  } >>"$state/conf/kafka-$1.properties"
  chmod 600 "$state/conf/kafka-$1.properties"
}

# ------------------------------------------------------------------------------------------------ Cassandra

secure_cassandra() { # INDEX
  is_secure || return 0
  secure_make_files
  local yaml=$state/conf/cassandra-$1.yaml required
  case ${IOTPIPE_STACK_CLIENT_CERTIFICATES:-required} in
    required) required=true ;;
    none) required=false ;;
    *) fail "IOTPIPE_STACK_CLIENT_CERTIFICATES=$IOTPIPE_STACK_CLIENT_CERTIFICATES is neither required nor none" ;;
  esac
  sed -i -e 's/^authenticator:.*/authenticator: PasswordAuthenticator/' \
    -e 's/^authorizer:.*/authorizer: CassandraAuthorizer/' "$yaml"
  cat >>"$yaml" <<END

# up --secure
client_encryption_options:
  enabled: true
  optional: false
  keystore: tls/server.p12
  keystore_password: changeit
  require_client_auth: $required
  truststore: tls/ca.p12
  truststore_password: changeit
  store_type: PKCS12
END
}

# A handshake, and the first user, who is made some moments after the port is open.
secure_cassandra_answers() { # PORT
  grep -qsF 'Created default superuser role' "$state"/log/cassandra-1.log || return 1
  (cd "$state/tls" && timeout 3 openssl s_client -connect "$address:$1" -CAfile ca.pem -verify_return_error \
    -cert client.crt -key client.key </dev/null >/dev/null 2>&1)
}

# ------------------------------------------------------------------------------------------------ registry, env

# Adds to `command`.
secure_registry() {
  is_secure || return 0
  secure_make_files
  command+=("-Dquarkus.http.ssl-port=${port[REGISTRY_TLS_PORT]}"
    "-Dquarkus.http.ssl.certificate.files=$state/tls/server.crt"
    "-Dquarkus.http.ssl.certificate.key-files=$state/tls/server.key")
}

# Replaces what `env` says of a stack that is open to all.
secure_env() {
  say "export KAFKA_BOOTSTRAP_SERVERS=$address:${port[KAFKA_SASL_SSL_PORT]}"
  say "export IOTPIPE_KAFKA_SECURITY_PROTOCOL=sasl_ssl"
  say "export IOTPIPE_KAFKA_SASL_MECHANISM=scram-sha-512"
  say "export IOTPIPE_KAFKA_USERNAME=iot"
  say "export IOTPIPE_KAFKA_PASSWORD_FILE='$state/tls/kafka.password'"
  say "export IOTPIPE_STORE=cassandra://$address:${port[CASSANDRA_PORT]}/iot_data"
  say "export IOTPIPE_STORE_TLS=true"
  say "export IOTPIPE_STORE_USERNAME=cassandra"
  say "export IOTPIPE_CASSANDRA_PASSWORD_FILE='$state/tls/cassandra.password'"
  say "export IOTPIPE_TLS_CA_FILE='$state/tls/ca.pem'"
  say "export IOTPIPE_TLS_CERTIFICATE_FILE='$state/tls/client.crt'"
  say "export IOTPIPE_TLS_KEY_FILE='$state/tls/client.key'"
  if [[ " ${nodes[*]} " == *" registry-1 "* ]]; then
    say "export IOTPIPE_REGISTRY_URL=https://$address:${port[REGISTRY_TLS_PORT]}/apis/ccompat/v7"
  fi
  # Where else Kafka can be reached: in the open, with a client certificate, and with a login in the open.
  say "export IOTPIPE_STACK_KAFKA_PORT=${port[KAFKA_PORT]}"
  say "export IOTPIPE_STACK_KAFKA_SSL_PORT=${port[KAFKA_SSL_PORT]}"
  say "export IOTPIPE_STACK_KAFKA_SASL_PORT=${port[KAFKA_SASL_PORT]}"
}
