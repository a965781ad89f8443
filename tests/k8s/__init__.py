"""A real Kubernetes of one node on this machine, and the product on it (``make test-k8s``).

Without Docker and without leaving anything behind: the control plane, the kubelet and the containers live in namespaces
of their own (mount, network, process, cgroup) and end with them.

- ``machine`` says what the machine must have
- ``programs`` builds Kubernetes, etcd and CoreDNS from their Go modules, and fetches the Flink operator
- ``images`` builds the product's images from its Dockerfile, with buildah
- ``node`` is the first process of the namespaces, ``cluster`` starts and ends it and runs commands in it
"""
