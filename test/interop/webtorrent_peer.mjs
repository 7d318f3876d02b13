// The client WebTorrent with one torrent, as a child process like `libtorrent_peer.py`: one JSON line with its port, then
// one with its state for every line on standard input. Ends when that closes. Plain TCP: no WebRTC, uTP, local discovery
// or port mapping, and no DHT without `router`.
//
// Arguments: the folder with its `node_modules`, and the options as JSON.
import { createRequire, registerHooks } from "node:module"
import { join } from "node:path"
import { pathToFileURL } from "node:url"

const [, , home, json] = process.argv
const { torrent: source, folder, peers, files, secure, router } = JSON.parse(json)

// Its WebRTC is a native addon, which is not built without installation scripts.
const noWebRtc =
  "export class RTCPeerConnection {}; export { RTCPeerConnection as RTCSessionDescription }; " +
  "export { RTCPeerConnection as RTCIceCandidate }"
registerHooks({
  resolve: (name, context, next) =>
    name === "webrtc-polyfill"
      ? { url: `data:text/javascript,${encodeURIComponent(noWebRtc)}`, shortCircuit: true }
      : next(name, context)
})
const entry = createRequire(join(home, "package.json")).resolve("webtorrent")
const { default: WebTorrent } = await import(pathToFileURL(entry).href)

const dht = router === null ? false : { bootstrap: [router] }
const client = new WebTorrent({ dht, lsd: false, natUpnp: false, natPmp: false, utp: false, secure })
client.on("error", (error) => {
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
})
const torrent = client.add(source, { path: folder, deselect: files !== null })
torrent.on("warning", (error) => process.stderr.write(`${error.message}\n`))
torrent.on("infoHash", () => {
  for (const peer of peers) torrent.addPeer(peer)
})
torrent.on("ready", () => {
  for (const [index, file] of torrent.files.entries()) if (files?.includes(index)) file.select()
})

const isComplete = () =>
  torrent.ready && torrent.files.every((file, index) => file.done || files?.includes(index) === false)

const announcePort = () => {
  process.stdout.write(`${JSON.stringify({ port: client.address().port })}\n`)
  process.stdin.on("data", (text) => {
    const peers = torrent.wires.map(({ remoteAddress, remotePort }) => `${remoteAddress}:${remotePort}`)
    const state = JSON.stringify({ complete: isComplete(), downloaded: torrent.downloaded, peers })
    process.stdout.write(`${state}\n`.repeat(text.toString().split("\n").length - 1))
  })
}
if (client.listening) announcePort()
else client.once("listening", announcePort)
process.stdin.on("end", () => process.exit())
