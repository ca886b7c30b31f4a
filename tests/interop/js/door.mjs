// A js-libp2p program at chinwag's open door: it puts a blob and gets it back, gets one that somebody else put, and
// tries to forge one. It is nobody's member, and knows nothing of chinwag but the protocol's name and what a key
// looks like.
//
//     node door.mjs ADDRESS OTHERS-BLOB...
//
// ADDRESS is the door's multiaddr with its peer id. The blobs of others are given as text and asked for by their hash.
// Prints one line for each thing that it saw, and exits 1 at the first that is not as it should be.
import './node20.mjs'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'

const PROTOCOL = '/chinwag/kad/1.0.0'
// How long the door may take for one thing.
const WITHIN_MS = 20_000

const [address, ...others] = process.argv.slice(2)
const text = (bytes) => new TextDecoder().decode(bytes)
const bytes = (text) => new TextEncoder().encode(text)
const hash = (value) => createHash('sha256').update(value).digest('hex')
const key = (value) => bytes(`/chinwag/blob/${hash(value)}`)
const same = (found, value) => found != null && Buffer.compare(found, value) === 0
const soon = () => ({ signal: AbortSignal.timeout(WITHIN_MS) })

// What chinwag checks too: a blob proves itself, and two valid ones are the same.
async function validate (key, value) {
  if (text(key) !== `/chinwag/blob/${hash(value)}`) {
    throw new Error('the blob has another hash than its key says')
  }
}

async function start () {
  const node = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: {
      identify: identify(),
      ping: ping(),
      dht: kadDHT({
        protocol: PROTOCOL,
        clientMode: true,
        peerInfoMapper: passthroughMapper,
        validators: { chinwag: validate },
        selectors: { chinwag: () => 0 }
      })
    }
  })
  const connection = await node.dial(multiaddr(address), soon())
  // Identify tells that the door speaks our Kademlia, and so brings it into the routing table.
  const deadline = Date.now() + WITHIN_MS
  while (node.services.dht.routingTable.size === 0) {
    assert(Date.now() < deadline, 'the door does not come into the routing table')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return { node, door: connection.remotePeer }
}

// Puts as any program does. How many peers took it.
async function put (node, key, value) {
  let taken = 0
  for await (const event of node.services.dht.put(key, value, soon())) {
    if (event.name === 'PEER_RESPONSE' && event.messageName === 'PUT_VALUE') taken += 1
  }
  return taken
}

// Gets from the network: the own store, where a put leaves a copy, is another program's.
async function get (node, key) {
  for await (const event of node.services.dht.get(key, soon())) {
    if (event.name === 'VALUE') return event.value
  }
  return undefined
}

const writer = await start()
const reader = await start()
console.log(`connected to ${writer.door}, ping ${await writer.node.services.ping.ping(writer.door, soon())} ms`)

const own = bytes(`from js at ${Date.now()}`)
assert.equal(await put(writer.node, key(own), own), 1, 'the door takes a blob')
assert(same(await get(reader.node, key(own)), own), 'another program gets what was put')
console.log(`put and got ${hash(own)}`)

const large = new Uint8Array(256 * 1024).fill(Date.now() % 251)
assert.equal(await put(writer.node, key(large), large), 1, 'the door takes a blob of the largest size')
assert(same(await get(reader.node, key(large)), large), 'and gives it back whole')
console.log(`put and got ${large.length} bytes`)

for (const other of others) {
  assert(same(await get(reader.node, key(bytes(other))), bytes(other)), "others' blobs are there")
  console.log(`got another's: ${other}`)
}

const named = key(bytes(`never put at ${Date.now()}`))
assert.equal(await put(writer.node, named, bytes('other bytes')), 0, 'the door refuses a forged blob')
assert.equal(await get(reader.node, named), undefined, 'and nobody gets it')
assert.equal(await put(writer.node, bytes('/chinwag/cell/greeting'), own), 0, 'the door takes no cell')
console.log('forged and foreign records were refused')

await Promise.all([writer.node.stop(), reader.node.stop()])
console.log('js-libp2p: all as it should be')
// Whatever timers are left are not worth waiting for.
process.exit(0)
