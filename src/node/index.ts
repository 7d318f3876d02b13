/**
 * The entry point for Node: the engine as it is composed there, and the layers that it consists of.
 */

export * as JsonLines from "../cli/JsonLines.ts"
export * as FileDhtStore from "../discovery/dht/provider/node/FileDhtStore.ts"
export * as HttpTracker from "../discovery/tracker/provider/HttpTracker.ts"
export * as NodePieceHasher from "../hash/provider/node/NodePieceHasher.ts"
export * as ThreadedPieceHasher from "../hash/provider/node/ThreadedPieceHasher.ts"
export * as IoDaemonProcess from "../io-daemon/node/IoDaemonProcess.ts"
export * as NodeUdpPort from "../network/provider/node/NodeUdpPort.ts"
export * as TcpTransport from "../network/provider/node/TcpTransport.ts"
export * as FileResumeStore from "../resume/provider/node/FileResumeStore.ts"
export * as FileSystemStorage from "../storage/provider/node/FileSystemStorage.ts"
export * as NodeDht from "./NodeDht.ts"
export * as NodeEngine from "./NodeEngine.ts"
export * as NodeIoDaemon from "./NodeIoDaemon.ts"
export * as NodeLookup from "./NodeLookup.ts"
export * as NodeMetadataSource from "./NodeMetadataSource.ts"
export * as NodeRoutedHttp from "./NodeRoutedHttp.ts"
export * as NodeTracker from "./NodeTracker.ts"
export * as NodeUdpHub from "./NodeUdpHub.ts"
export * as NodeWebSeeds from "./NodeWebSeeds.ts"
