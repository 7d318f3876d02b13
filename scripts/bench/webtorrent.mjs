// WebTorrent on loopback. Arguments: TORRENT FOLDER MODULES [PEER...], with the package `webtorrent` in
// `MODULES/node_modules`. Downloads from the peers what FOLDER lacks, and prints one JSON line with its port when it has
// everything. Then it seeds, until standard input closes.
import { createRequire, registerHooks } from "node:module"
import * as path from "node:path"
import { pathToFileURL } from "node:url"

// Only TCP is measured. Its WebRTC binding, a binary that npm would have to download, is replaced by a stub.
const absent = ["RTCPeerConnection", "RTCSessionDescription", "RTCIceCandidate", "RTCDataChannel", "MediaStream"]
const stub = `data:text/javascript,${absent.map((name) => `export class ${name} {};`).join("")}export default {}`
registerHooks({
  resolve: (specifier, context, next) =>
    /^(webrtc-polyfill|node-datachannel)/.test(specifier) ? { url: stub, shortCircuit: true } : next(specifier, context)
})

const [torrent, folder, modules, ...peers] = process.argv.slice(2)
const { resolve } = createRequire(path.join(path.resolve(modules), "here.js"))
const { default: WebTorrent } = await import(pathToFileURL(resolve("webtorrent")).href)

const client = new WebTorrent({
  torrentPort: 0,
  dht: false,
  tracker: false,
  lsd: false,
  utPex: false,
  utp: false,
  natUpnp: false,
  natPmp: false,
  webSeeds: false,
  secure: 0
})
client.on("error", (error) => {
  process.stderr.write(`${error.message}\n`)
  process.exit(1)
})
client.add(torrent, { path: folder }, (added) => {
  const printPort = () => process.stdout.write(`${JSON.stringify({ port: client.address().port })}\n`)
  if (added.done) printPort()
  else added.on("done", printPort)
  for (const peer of peers) added.addPeer(peer)
})

process.stdin.resume()
process.stdin.on("end", () => process.exit())
