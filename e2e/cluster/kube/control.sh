# Sourced by node.sh and by bench/operator.sh: the parts of a control plane, each started in the background.

declare -A names

# start NAME ARGUMENTS…
start() {
  "$@" >>"$log/$1.log" 2>&1 </dev/null &
  names[$!]=$1
}

etcd_server() {
  start etcd --data-dir="$state/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
    --initial-cluster=default=http://127.0.0.1:2380
}

# api_server [FLAGS…]: with more flags. Comes back when it answers, or has ended.
api_server() {
  start kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address="$node" --advertise-address="$node" \
    --service-cluster-ip-range="$services" --allow-privileged=true --anonymous-auth=false --profiling=false \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
    --requestheader-client-ca-file="$pki/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$pki/front-proxy-client.crt" --proxy-client-key-file="$pki/front-proxy-client.key" \
    --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" --kubelet-client-key="$pki/apiserver-kubelet-client.key" "$@"
  local pid=$!
  until kubectl --kubeconfig "$conf/admin.conf" get --raw /readyz >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.1
  done
}

as() { printf -- '--%s=%s ' kubeconfig "$conf/$1.conf" authentication-kubeconfig "$conf/$1.conf" authorization-kubeconfig "$conf/$1.conf"; }

# controller_manager [FLAGS…]: with more flags. It ends for good when its first question is refused, as all are until the API server has
# made the roles.
controller_manager() {
  start kube-controller-manager $(as kube-controller-manager) --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials=true \
    --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" "$@"
}

scheduler() { start kube-scheduler $(as kube-scheduler) --bind-address=127.0.0.1 --leader-elect=false; }
