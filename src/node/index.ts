/**
 * What runs on Node: the engine as it is composed there, and the layers it is composed of.
 */

export * as NodePieceHasher from "../hash/NodePieceHasher.ts"
export * as IoDaemonProcess from "../io-daemon/IoDaemonProcess.ts"
export * as FileResumeStore from "../resume/FileResumeStore.ts"
export * as FileSystemStorage from "../storage/FileSystemStorage.ts"
export * as HttpTracker from "../tracker/HttpTracker.ts"
export * as NodeUdpPort from "../transport/NodeUdpPort.ts"
export * as TcpTransport from "../transport/TcpTransport.ts"
export * as NodeEngine from "./NodeEngine.ts"
export * as NodeIoDaemon from "./NodeIoDaemon.ts"
export * as NodeLookup from "./NodeLookup.ts"
export * as NodeRoutedHttp from "./NodeRoutedHttp.ts"
export * as NodeTracker from "./NodeTracker.ts"
