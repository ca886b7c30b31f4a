// js-libp2p is written for node 22. All that it lacks on node 20, which Debian's users still have, is this.
Promise.withResolvers ??= function () {
  const all = {}
  all.promise = new Promise((resolve, reject) => Object.assign(all, { resolve, reject }))
  return all
}
