/** Makes every HTTP server of the JDK listen on the loopback only: Flink's Prometheus reporter takes a port and no address. */
public class LoopbackHttp extends com.sun.net.httpserver.spi.HttpServerProvider {

  private final com.sun.net.httpserver.spi.HttpServerProvider plain = new sun.net.httpserver.DefaultHttpServerProvider();

  public com.sun.net.httpserver.HttpServer createHttpServer(java.net.InetSocketAddress address, int backlog)
      throws java.io.IOException {
    return plain.createHttpServer(loopback(address), backlog);
  }

  public com.sun.net.httpserver.HttpsServer createHttpsServer(java.net.InetSocketAddress address, int backlog)
      throws java.io.IOException {
    return plain.createHttpsServer(loopback(address), backlog);
  }

  private static java.net.InetSocketAddress loopback(java.net.InetSocketAddress address) {
    return new java.net.InetSocketAddress("127.0.0.1", address.getPort());
  }
}
