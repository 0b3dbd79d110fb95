import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import java.util.List;

/** mongo-java-server on a file, with an oplog for change streams; mongod.py stands before it. */
public class MongoMain {
    public static void main(String[] arguments) throws Exception {
        H2Backend backend = new H2Backend(arguments[0]);
        backend.version(new MongoVersion() {
            @Override
            public List<Integer> getVersionArray() {
                return List.of(5, 0, 31);
            }

            @Override
            public int getWireVersion() {
                return 13;
            }
        });
        MongoServer server = new MongoServer(backend);
        server.enableOplog();
        server.bind("127.0.0.1", Integer.parseInt(arguments[1]));
        // Without it what was written last is lost with the process.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            server.shutdownNow();
            backend.close();
        }));
        System.out.println("ready");
        while (true) {
            Thread.sleep(500);
            backend.commit();
        }
    }
}
