# Sourced by up.sh: one authority for all certificates, and a kubeconfig for each part.

ec=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)

# authority NAME
authority() {
  openssl req -x509 "${ec[@]}" -keyout "$pki/$1.key" -out "$pki/$1.crt" -days 30 -subj "/CN=$name-$1" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
}

# certificate AUTHORITY NAME SUBJECT USAGE [ALTERNATIVE-NAMES]
certificate() {
  openssl req -new "${ec[@]}" -keyout "$pki/$2.key" -subj "$3" 2>/dev/null |
    openssl x509 -req -CA "$pki/$1.crt" -CAkey "$pki/$1.key" -set_serial "0x$(openssl rand -hex 8)" -days 30 -out "$pki/$2.crt" \
      -extfile <(printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=%s\n%s\n' "$4" "${5:+subjectAltName=$5}") 2>/dev/null
}

# kubeconfig NAME: with the certificate of the same name.
kubeconfig() {
  cat >"$conf/$1.conf" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: $name, cluster: {server: "https://$node:6443", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$pki/$1.crt"), client-key-data: $(base64 -w0 "$pki/$1.key")}}]
contexts: [{name: $name, context: {cluster: $name, user: $1}}]
current-context: $name
YAML
}

keys() {
  local first part
  # The first address of the services is the API server's.
  first=${services%.*}.1
  mkdir -m 700 -p "$pki" "$conf"
  authority ca
  # With this one the API server says for whom it asks an aggregated API.
  authority front-proxy-ca
  certificate ca apiserver /CN=kube-apiserver serverAuth \
    "IP:$node,IP:$first,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  certificate ca apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
  certificate front-proxy-ca front-proxy-client /CN=front-proxy-client clientAuth
  certificate ca kubelet-server "/O=system:nodes/CN=system:node:$name" serverAuth "IP:$node,DNS:$name"
  certificate ca admin /O=system:masters/CN=admin clientAuth
  certificate ca kubelet "/O=system:nodes/CN=system:node:$name" clientAuth
  for part in kube-controller-manager kube-scheduler kube-proxy coredns; do
    certificate ca "$part" "/CN=system:$part" clientAuth
  done
  for part in admin kubelet kube-controller-manager kube-scheduler kube-proxy coredns; do kubeconfig "$part"; done
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out "$pki/sa.key" 2>/dev/null
  openssl pkey -in "$pki/sa.key" -pubout -out "$pki/sa.pub"
}
