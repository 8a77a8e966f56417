"""What tells the task of a card: the one table of tasks.

A key is the field's usual name, as Hugging Face and Papers with Code write it. Under it, in `TABLE`:

- behind ``<``, the tasks of which this one is a kind; evidence for it refines what they say;
- ``words`` and ``chinese``: what people ask for when they mean this task and no other; the key's own words need not
  stand there;
- ``names``: names of models, small and without separators, that mean this task. A name ends where a word of the card's
  name ends, at a digit, or anywhere with ``*`` behind it;
- ``backbones``: the same for architectures that serve many tasks, under the usual one;
- ``data``: data sets that are used for nothing else;
- ``folders``: folders of repositories, where the name alone would say too little or something else;
- ``homes``: repositories, and folders of many models, as a last hint.
"""

from __future__ import annotations

__all__ = ["AREAS", "AREA_WORDS", "CLASSIFIED", "FIELD_KEYS", "GROUPS", "NOT_CLASSIFIED", "TABLE"]

TABLE = """
# computer vision
image-classification (cv)
  words: image recognition, picture classification, fine-grained image classification, visual recognition,
    classifier
  chinese: 图像分类, 图片分类, 图像识别, 细粒度分类
  names: sppnet* lenet* ntsnet* cspdarknet53 tinydarknet avahpa cnndirectionmodel isynet* autoslim fdabnn adabin
    hournas* renas* pdarts manidp* autoaugment wrn
  backbones: alexnet* augvit bit cct coat convit* convnext* crossvit* ddrnet* densenet* dpn drnet edgenext*
    efficientnet* fishnet* genet genetres* ghostnet* glore* googlenet* hardnet* hrnet* ibnnet* inception* mixnet*
    mnasnet* mobilenet* mobilevit* nasnet* nfnet* pit pnasnet* poolformer* proxylessnas* pvt regnet* repvgg*
    res2net* resnest* resnet* resnext* rexnet* senet* seresnet* seresnext* seres2net* shufflenet* singlepathnas*
    sknet* skresnet* snnmlp* squeezenet* swin* tnt vgg* visformer* vit vitb vitl vitbase* vitlarge* vittiny*
    vitsmall* volo* wavemlp* wideresnet* xception* xcit* efficientformer* deit* cait* mlpmixer* resmlp* darknet*
  data: oxfordpets oxfordiiitpet stanfordcars flowers102 food101 cub2002011
  homes: mindcv mmclassification mmpretrain
few-shot-image-classification (cv) < image-classification
  words: few-shot learning, few-shot classification, meta-learning, one-shot learning
  chinese: 小样本分类, 小样本学习, 少样本学习, 元学习
  names: protonet* prototypicalnet* relationnet* metabaseline matchingnet* maml
  data: omniglot miniimagenet tieredimagenet
zero-shot-image-classification (cv) < image-classification
  words: zero-shot learning, zero-shot classification
  chinese: 零样本分类, 零样本学习
  names: clip
  folders: research/cv/dem
facial-attribute-classification (cv)
  words: face attributes, face attribute recognition, age estimation, gender classification
  chinese: 人脸属性, 人脸属性识别, 年龄估计, 性别识别
  names: faceattribute*
  data: fairface*
object-detection (cv)
  words: object detector, detector, object localization, bounding boxes
  chinese: 目标检测, 物体检测, 目标识别, 对象检测
  names: yolo* ssd* fasterrcnn* cascadercnn* rfcn* retinanet* efficientdet* fcos* detr* deformabledetr* rtdetr*
    centernet* cornernet* refinedet* nasfpn* ppyolo* libra* sparsercnn* atss foveabox
  homes: mindyolo mmdetection yolov5 ultralytics
face-detection (cv) < object-detection
  words: face detector
  chinese: 人脸检测
  names: retinaface* centerface* facedetection* mtcnn* blazeface* scrfd* facebox*
  data: widerface
3d-object-detection (cv) < object-detection
  words: lidar detection, point cloud detection
  chinese: 三维目标检测, 3D目标检测
  names: pointpillar* voxelnet pvrcnn* secondnet votenet bevformer* bevdet*
  homes: mmdetection3d
salient-object-detection (cv)
  words: saliency detection, salient objects, saliency
  chinese: 显著性检测, 显著目标检测, 显著性目标检测
  names: egnet* u2net* basnet*
  data: duts* dut
  folders: research/cv/ras
lane-detection (cv)
  words: lane lines
  chinese: 车道线检测
  names: lanenet* ultrafastlane*
  data: tusimple culane
anomaly-detection (cv)
  words: defect detection, defects, industrial inspection, anomaly segmentation, novelty detection
  chinese: 异常检测, 缺陷检测, 工业质检, 瑕疵检测
  names: ssimae stpm patchcore* padim* ganomaly* fastflow simplenet
  data: mvtec*
image-segmentation (cv)
  words: interactive segmentation, panoptic segmentation, mask generation, segment anything
  chinese: 图像分割, 交互式分割, 全景分割
  names: fcanet* segmentanything* mask2former* maskformer*
semantic-segmentation (cv) < image-segmentation
  words: scene parsing, scene segmentation, pixel classification
  chinese: 语义分割, 场景分割
  names: deeplab* autodeeplab* fcn8s fcn16s fcn32s pspnet* enet erfnet fastscnn icnet refinenet* ocrnet segnet*
    hrnetw48seg bisenet* segformer* upernet* res2netdeeplab* segmenter
  backbones: unet*
  data: cityscapes cityspaces ade20k camvid pascalcontext
  homes: mmsegmentation mindseg
remote-sensing-segmentation (cv) < semantic-segmentation
  words: remote sensing, satellite image segmentation, aerial segmentation, road extraction, building extraction
  chinese: 遥感, 遥感分割, 遥感图像分割, 道路提取, 建筑物提取, 地物分类
  names: dlinknet*
  data: deepglobe* spacenet* massachusettsroads* loveda isprs*
medical-image-segmentation (cv) < semantic-segmentation
  words: medical segmentation, cell segmentation, organ segmentation, brain tumor segmentation, biomedical
    segmentation
  chinese: 医学图像分割, 医学分割, 医疗图像分割, 细胞分割, 器官分割, 医学影像分割
  names: vnet unet3d unet3plus nnunet* transunet* swinunet* 3ddensenet 3dcnn
  data: isbi* cellnuclei luna16 lits2017 promise2012 brast2017 brats* iseg2017 acdc
  folders: research/cv/unet3+
instance-segmentation (cv) < object-detection image-segmentation
  words: object segmentation, instance masks
  chinese: 实例分割
  names: maskrcnn* solov2 yolact* cascademaskrcnn* blendmask condinst
image-matting (cv)
  words: matting, portrait matting, human matting, background removal
  chinese: 抠图, 图像抠图, 人像抠图
  names: semantichumanmatting modnet deepmatting
  data: mattinghuman*
edge-detection (cv)
  words: contour detection, boundary detection
  chinese: 边缘检测, 轮廓检测
  folders: research/cv/hed
keypoint-detection (cv)
  words: human pose estimation, keypoints, body keypoints, skeleton, multi-person pose estimation
  chinese: 关键点检测, 人体姿态估计, 人体关键点, 骨骼关键点
  names: openpose* simplepose* simplebaseline* alphapose* stackedhourglass* poseestnet* hourglass* vitpose*
    higherhrnet* rtmpose*
  data: mpii cocokeypoint* crowdpose
  folders: research/cv/centernet
  homes: mmpose
6d-pose-estimation (cv)
  words: object pose estimation, 6d pose, 6dof pose
  chinese: 6D姿态估计, 六自由度姿态估计, 物体姿态估计
  names: pvnet* posecnn densefusion
  data: linemod
camera-localization (cv)
  words: camera relocalization, camera pose estimation, visual localization
  chinese: 相机定位, 相机重定位, 视觉定位, 相机位姿估计
  names: posenet*
  data: kingscollege stmaryschurch 7scenes
face-recognition (cv)
  words: face verification, face identification, facial recognition
  chinese: 人脸识别, 人脸验证, 人脸比对
  names: arcface* sphereface* facerecognition* lightcnn* deepid* facenet* cosface* insightface* adaface*
    mobilefacenet*
  data: ms1mv2 msceleb1m casiawebface youtubeface lfw glint360k
face-quality-assessment (cv)
  words: face image quality, face quality
  chinese: 人脸质量评估
  names: facequalityassessment*
  data: 300wlp
image-quality-assessment (cv)
  words: image aesthetics, aesthetic assessment, image quality
  chinese: 图像质量评估, 图像质量评价, 美学评估
  names: nima*
  data: avadataset
person-re-identification (cv)
  words: person reid, pedestrian re-identification, visible-infrared re-identification, person retrieval
  chinese: 行人重识别, 行人再识别
  names: osnet* pcbrpp* pcb transreid* fastreid* agw
  data: market1501 dukemtmc* msmt17 sysumm01 regdb cuhk03
  folders: research/cv/mvd research/cv/ddag
vehicle-re-identification (cv)
  words: vehicle reid, vehicle retrieval
  chinese: 车辆重识别, 车辆再识别
  names: vehiclenet* multitasknet
  data: veri vehicleid vehiclenet*
object-tracking (cv)
  words: visual object tracking, single object tracking, visual tracking, tracker
  chinese: 目标跟踪, 物体跟踪, 视频跟踪, 单目标跟踪, 目标追踪
  names: siamfc* siamrpn* siammask* adnet ostrack*
  data: ilsvrc2015vid vot2013* got10k lasot
multi-object-tracking (cv) < object-tracking
  words: multiple object tracking, pedestrian tracking
  chinese: 多目标跟踪, 多目标追踪
  names: deepsort* fairmot* bytetrack* strongsort*
  data: mot16 mot17 mot20
  homes: mmtracking
crowd-counting (cv)
  words: people counting, crowd density estimation
  chinese: 人群计数, 人流统计
  names: mcnn csrnet*
  data: shanghaitech*
image-retrieval (cv)
  words: metric learning, landmark retrieval, content-based image retrieval, image search
  chinese: 图像检索, 图片检索, 以图搜图, 度量学习
  names: metriclearn* delf
  data: gldv2 googlelandmark* sop oxford5k roxford5k
self-supervised-learning (cv)
  words: contrastive learning, unsupervised representation learning, image feature extraction, masked image modeling
  chinese: 自监督学习, 对比学习, 无监督学习, 特征提取
  names: simclr* moco mocov* byol* simsiam* avacifar simmim* fastmim* localmim* mae
scene-text-detection (cv) < object-detection
  words: text detection, text localization, text spotting
  chinese: 文本检测, 文字检测, 场景文本检测
  names: dbnet* east advancedeast* psenet* ctpn* deeptext* textfusenet* craft fcenet pannet
  data: icdar2013 icdar2015* icdar2017* icpr2018 totaltext ctw1500 cocotext* icdar2013scutforu*
  homes: mindocr/configs/det
scene-text-recognition (cv)
  words: text recognition, captcha recognition, handwriting recognition, license plate recognition
  chinese: 文本识别, 文字识别, 场景文本识别, 验证码识别, 手写识别
  names: crnn* cnnctc* warpctc svtr* aster trocr* parseq visionlan
  data: fsns captcha mjstiiit mjsynth lmdbdataset crnnds
  homes: mindocr/configs/rec
super-resolution (cv) < image-restoration
  words: image super-resolution, upscaling, image upscaling, image rescaling
  chinese: 超分辨率, 图像超分, 超分, 超分辨率重建
  names: rdn dbpn* srcnn* srgan* esrgan* realesrgan* rcan* wdsr* edsr* swinir* iptsr* fsrcnn* espcn*
  data: div2k set5 set14 urban100
  folders: research/cv/csd research/cv/irn
image-restoration (cv)
  words: image enhancement, image recovery, deblurring, low-level vision
  chinese: 图像恢复, 图像复原, 图像修复, 图像增强, 去模糊
  names: ipt* restormer* nafnet* mprnet
  homes: mmediting
image-denoising (cv) < image-restoration
  words: denoising, noise removal, denoise
  chinese: 图像去噪, 去噪, 降噪
  names: brdnet dncnn* ffdnet neighbor2neighbor rednet30
  data: cbsd68 bsd68 waterloo kodak bsd300 bsd500
image-deraining (cv) < image-restoration
  words: deraining, rain removal, derain
  chinese: 图像去雨, 去雨
  names: iptderain*
  data: rain100*
image-dehazing (cv) < image-restoration
  words: dehazing, haze removal, defogging
  chinese: 图像去雾, 去雾
  names: aecrnet ffanet aodnet
  data: reside*
low-light-image-enhancement (cv) < image-restoration
  words: low-light enhancement, low-light imaging, night photography
  chinese: 低光照增强, 暗光增强, 低照度增强
  names: learningtoseeinthedark zerodce* retinexnet
image-generation (cv)
  words: unconditional image generation, image synthesis
  chinese: 图像生成, 图片生成
  names: gan dcgan wgan* cgan* pgan progan singan* stylegan* biggan* lsgan acgan ddpm ddim vqgan*
  data: lsunbedrooms
  folders: examples/dit examples/fit examples/var
image-to-image-translation (cv)
  words: image-to-image, image translation, domain transfer, face editing, facial attribute editing, portrait
    drawing
  chinese: 图像翻译, 图像转换, 图到图, 人脸编辑
  names: pix2pix* cyclegan* stargan* attgan* stgan* ugatit* apdrawinggan* discogan munit
  data: horse2zebra apple2orange selfie2anime apdrawingdb facades
style-transfer (cv)
  words: artistic style transfer, neural style
  chinese: 风格迁移, 图像风格迁移, 风格转换
  names: arbitrarystyletransfer* adain faststyle*
image-reconstruction (cv)
  words: autoencoder, image compression
  chinese: 图像重建, 图像压缩
  names: autoencoders vqvae*
depth-estimation (cv)
  words: monocular depth estimation, depth map
  chinese: 深度估计, 单目深度估计
  names: depthnet* midas* monodepth* adabins depthanything*
  data: nyu nyudepth* redweb
optical-flow-estimation (cv)
  words: optical flow
  chinese: 光流估计, 光流
  names: pwcnet* flownet* raft
  data: flyingchairs flyingthings* sintel
video-classification (cv)
  words: action recognition, video recognition, activity recognition, video understanding
  chinese: 视频分类, 动作识别, 行为识别, 视频理解
  names: c3d r2plus1d* tsm tsn stnet slowfast* ecolite attentioncluster* i3d x3d videoswin* timesformer*
  data: ucf101 hmdb51 kinetics* somethingsomething* ava22
  homes: mmaction mmaction2
temporal-localization (cv)
  words: temporal activity localization, video moment retrieval, video grounding, temporal action localization
  chinese: 时序动作定位, 视频定位, 视频片段检索
  data: tacos charadessta
  folders: research/cv/tall
video-prediction (cv)
  words: next frame prediction, spatiotemporal prediction
  chinese: 视频预测
  names: predrnn* convlstm* simvp*
  data: movingmnist
video-super-resolution (cv)
  words: video enhancement
  chinese: 视频超分, 视频增强
  names: venhancer basicvsr* edvr
point-cloud-classification (cv)
  words: 3d shape classification
  chinese: 点云分类
  names: pointnet* dgcnn pointtransformer*
  data: modelnet*
point-cloud-segmentation (cv) < point-cloud-classification
  words: 3d part segmentation, 3d semantic segmentation
  chinese: 点云分割
  names: randlanet kpconv
  data: shapenet* s3dis semantickitti
point-cloud-compression (cv)
  words: lidar compression
  chinese: 点云压缩
  names: octsqueeze*
sequence-modeling (cv)
  words: sequential image classification, temporal convolution
  chinese: 序列建模
  names: tcn
  data: permutedmnist addingproblem

# several kinds of input
text-to-image (multimodal)
  words: text to image generation, image generation from text, stable diffusion
  chinese: 文生图, 文本生成图像
  names: stablediffusion* sdxl* cogview* hunyuandit* kohya* storydiffusion* flux pixart* wukonghuahua* dalle*
    controlnet* kolors*
  homes: examples/stable_diffusion_v2 examples/stable_diffusion_xl
text-to-video (multimodal)
  words: text to video generation, video synthesis
  chinese: 文生视频, 文本生成视频
  names: animatediff* opensora* stepvideo* videocomposer* wan hunyuanvideo* cogvideo* moviegen*
image-to-video (multimodal)
  words: image to video generation, video from image
  chinese: 图生视频
  names: hunyuanvideoi2v* dynamicrafter* stablevideo*
image-to-3d (multimodal)
  words: single image to 3d, 3d reconstruction, mesh generation, 3d mesh
  chinese: 图生3D, 三维重建, 三维生成
  names: instantmesh* openlrm* hunyuan3d* hunyun3d* sv3d
  data: objaverse
text-to-3d (multimodal)
  words: text to 3d generation
  chinese: 文生3D
  names: mvdream* dreamfusion
image-text-to-text (multimodal)
  words: vision-language model, vision-language understanding, visual question answering, vqa, multimodal
    understanding
  chinese: 视觉语言模型, 视觉问答, 图文理解, 多模态大模型
  names: qwenvl* qwen2vl* qwen25vl* sharegpt4v* llava* internvl* minicpmv blip2 minigpt4
any-to-any (multimodal)
  words: unified multimodal model, unified multimodal understanding and generation
  chinese: 统一多模态
  names: emu3* janus*
image-captioning (multimodal)
  words: image to text, caption generation, captioning
  chinese: 图像描述, 看图说话, 图像标题生成, 图像字幕
  names: blip
  data: cococaption flickr30k
  folders: research/mm/opt

# language
natural-language-understanding (nlp)
  words: language understanding, nlu
  chinese: 自然语言理解
text-classification (nlp) < natural-language-understanding
  words: document classification, topic classification, news classification, sentence classification
  chinese: 文本分类, 新闻分类, 主题分类
  names: textcnn* textrcnn* fasttext* hypertext dpcnn
  data: tnews iflytek agnews agsnews* dbpedia* yelp* subj cola thucnews mrpc
sentiment-analysis (nlp) < text-classification
  words: emotion classification, emotion recognition, sentiment classification, opinion mining, emotion detection
  chinese: 情感分析, 情感分类, 情绪识别, 情感识别
  names: senta emotect
  data: sst2 enwiki128sst2 chnsenticorp imdb aclimdb* moviereview polaritymoviereview sst5
natural-language-inference (nlp) < text-classification
  words: nli, textual entailment, sentence pair classification
  chinese: 自然语言推理, 文本蕴含
  data: mnli xnli qnli snli rte enwiki128mnli enwiki128qnli
named-entity-recognition (nlp) < natural-language-understanding
  words: ner, token classification, sequence labeling, sequence tagging, chunking, part-of-speech tagging
  chinese: 命名实体识别, 实体识别, 序列标注, 词性标注
  names: lstmcrf* bilstmcrf*
  data: cluener chinesener msraner ner conll2000 conll2003 ontonotes*
question-answering (nlp) < natural-language-understanding
  words: reading comprehension, machine reading comprehension, extractive question answering, multi-hop qa, qa
  chinese: 问答, 阅读理解, 机器阅读理解, 智能问答
  names: ktnet tprr bidaf drqa
  data: squad* hotpotqa record cmrc* cmcr drcd brcd bdqa nlpccdbqa triviaqa
translation (nlp)
  words: machine translation, neural machine translation, nmt
  chinese: 机器翻译, 翻译, 神经机器翻译
  names: gnmt* seq2seq marian* nllb* mbart*
  data: wmt* multi30k muti30k iwslt* europarl
summarization (nlp)
  words: text summarization, abstractive summarization
  chinese: 文本摘要, 自动摘要, 摘要生成
  names: pegasus bertsum*
  data: gigaword cnndm cnndailymail newscrawlgigaword*
  folders: official/nlp/mass research/nlp/mass
conversational (nlp)
  words: dialogue, dialog system, dialogue generation, response selection, chatbot, chat
  chinese: 对话, 对话系统, 对话生成, 多轮对话, 聊天机器人
  names: duconv dgu
  data: udc ubuntu douban duconv
  folders: research/nlp/dam
language-modeling (nlp)
  words: text generation, language model, pretrained language model, masked language modeling, fill-mask, llm, large
    language model
  chinese: 语言模型, 文本生成, 预训练语言模型, 大语言模型, 大模型
  names: gpt gpt2* gpt3* pangu* pangualpha* glm* llama* qwen* baichuan* bloom* mixtral* mistral* deepseek* chatglm*
    internlm* codegeex*
  backbones: bert* albert ernie* tinybert luke roberta* electra xlnet t5
  data: cnnews128 enwiki128 enwiki512 openweb* mlperf* wikitext* ptb
  homes: mindformers
word-embeddings (nlp)
  words: word vectors, word2vec, word representation
  chinese: 词向量, 词嵌入
  names: skipgram word2vec cbow glove
  data: text8
relation-extraction (nlp)
  words: relation classification
  chinese: 关系抽取, 关系分类
  data: tacred semeval2010*

# audio
speech-recognition (audio)
  words: automatic speech recognition, asr, speech to text, phoneme recognition
  chinese: 语音识别, 自动语音识别, 语音转文字
  names: deepspeech* conformer* ctcmodel wenet* whisper* wav2letter wav2vec* jasper las paraformer*
  data: aishell* timit
speech-synthesis (audio)
  words: vocoder, voice synthesis, waveform generation
  chinese: 语音合成, 声码器
  names: lpcnet* melgan* hifigan* wavenet* waveglow* wavernn* parallelwavegan*
text-to-speech (audio) < speech-synthesis
  words: tts
  chinese: 文本转语音, 文字转语音
  names: tacotron* fastspeech* vits deepvoice* transformertts
  data: baker
audio-classification (audio)
  words: sound classification, acoustic scene classification, sound event detection
  chinese: 音频分类, 声音分类, 声音事件检测
  names: panns*
  data: esc50 urbansound8k
audio-tagging (audio) < audio-classification
  words: music tagging, music classification
  chinese: 音频标注, 音乐标签, 音乐分类, 音频标签
  names: fcn4
  data: musictagging magnatagatune audioset
keyword-spotting (audio) < audio-classification
  words: wake word detection, speech commands, speech command recognition
  chinese: 关键词识别, 语音唤醒, 命令词识别, 关键词检测
  names: dscnn
  data: speechcommands*
speaker-verification (audio)
  words: speaker recognition, speaker identification, voiceprint, speaker embedding
  chinese: 声纹识别, 说话人识别, 说话人确认
  names: ecapatdnn* xvector*
  data: voxceleb*
speech-enhancement (audio)
  words: speech separation, speech denoising
  chinese: 语音增强, 语音分离
  names: convtasnet*

# recommendation
click-through-rate-prediction (recommendation)
  words: ctr, ctr prediction, click rate prediction, click-through rate
  chinese: 点击率预测, 点击率, 点击率预估
  names: deepfm* wideanddeep* widedeep* dlrm* fatdeepffm* autodis* edcn* xdeepfm* dien deepandcross* dcn
  data: criteo outbrain avazu

# graphs
node-classification (graph)
  words: graph node classification, citation network
  chinese: 节点分类
  names: gcn gat dgcn graphsage* appnp sgc gcnii
  data: cora citeseer citesser pubmed
link-prediction (graph)
  words: knowledge graph embedding, knowledge graph completion, knowledge graph
  chinese: 链接预测, 知识图谱, 知识图谱嵌入, 知识图谱补全
  names: rotate transe distmult
  data: wn18* fb15k*
  folders: research/nlp/rotate
network-embedding (graph)
  words: graph embedding, node embedding, graph representation learning
  chinese: 网络嵌入, 图嵌入, 网络表示学习
  names: sdne deepwalk* node2vec*
traffic-prediction (graph)
  words: traffic forecasting, traffic flow prediction, traffic speed, spatio-temporal forecasting
  chinese: 交通预测, 交通流预测, 交通流量预测
  names: stgcn* tgcn dcrnn* astgcn*
  data: pems* losloop sztaxi metrla
  folders: research/cv/stgcn research/cv/tgcn

# science
molecular-dynamics (scientific)
  words: molecular simulation, molecule, molecular energy, force field
  chinese: 分子动力学, 分子模拟
  names: moleculardynamics* deepmd* schnet*
protein-structure-prediction (scientific)
  words: protein folding, protein structure
  chinese: 蛋白质结构预测, 蛋白质折叠
  names: alphafold* megafold* megaprotein*
weather-forecasting (scientific)
  words: weather prediction, precipitation nowcasting
  chinese: 天气预报, 气象预测, 降水预报
  names: fourcastnet* graphcast* panguweather*
physics-simulation (scientific)
  words: partial differential equations, pde, pinns, fluid dynamics, cfd, electromagnetics
  chinese: 物理仿真, 偏微分方程, 流体力学, 电磁仿真
  names: pinn* deeponet* fno* pdenet*
time-series-forecasting (scientific)
  words: time series, forecasting
  chinese: 时间序列预测, 时序预测
  names: informer*

# the fields, where no more can be told
computer-vision (cv)
  words: cv, vision
  chinese: 计算机视觉, 视觉
  homes: official/cv research/cv
multimodal (multimodal)
  words: mm
  chinese: 多模态
  homes: mindone official/mm research/mm
natural-language-processing (nlp)
  words: nlp, language
  chinese: 自然语言处理, 自然语言
  homes: official/nlp research/nlp mindnlp
audio (audio)
  words: speech, sound, voice, acoustics
  chinese: 语音, 音频, 声音
  homes: official/audio research/audio mindaudio
recommendation (recommendation)
  words: recommend, recommender, recommender system, recommendation system, collaborative filtering, news
    recommendation
  chinese: 推荐, 推荐系统, 协同过滤, 新闻推荐
  names: ncf naml nrms tbnet* bgcf mmoe lightgcn*
  data: movielens* amazonbeauty mindlarge mindsmall
  homes: official/recommend research/recommend mindrec
graph-machine-learning (graph)
  words: gnn, graph neural network, graph learning, graph ml, graph
  chinese: 图神经网络, 图学习
  homes: official/gnn research/gnn mindgl
scientific-computing (scientific)
  words: hpc, ai for science, science
  chinese: 科学计算, 高性能计算
  homes: official/hpc research/hpc mindscience
reinforcement-learning (rl)
  words: rl, deep reinforcement learning, policy gradient, robot control
  chinese: 强化学习, 深度强化学习
  names: ddpg dqn ppo sac a2c a3c td3 mappo qmix
  homes: official/rl research/rl mindrl
"""

FIELD_KEYS = {
    "cv": "computer-vision",
    "multimodal": "multimodal",
    "nlp": "natural-language-processing",
    "audio": "audio",
    "recommendation": "recommendation",
    "graph": "graph-machine-learning",
    "scientific": "scientific-computing",
    "rl": "reinforcement-learning",
}

# The first part of a module-type, and the fields of which its cards may be. The hub files some graphs under vision and
# language, and under mm whatever takes more than pictures.
AREAS = {
    "cv": ("cv", "multimodal", "graph"),
    "cvtmodel": ("cv",),
    "nlp": ("nlp", "multimodal", "graph"),
    "audio": ("audio",),
    "recommend": ("recommendation",),
    "gnn": ("graph", "recommendation"),
    "hpc": ("scientific",),
    "rl": ("rl",),
    "mm": ("multimodal", "cv", "nlp", "audio"),
}

# Words that mean several tasks.
GROUPS: dict[str, tuple[str, ...]] = {
    words: tuple(keys.split())
    for words, keys in {
        "ocr, optical character recognition, 光学字符识别": "scene-text-detection scene-text-recognition",
        "pose estimation, 姿态估计, 位姿估计": "keypoint-detection 6d-pose-estimation",
        "re-identification, reid, 重识别": "person-re-identification vehicle-re-identification",
        "face, facial, 人脸": "face-detection face-recognition facial-attribute-classification face-quality-assessment",
        "gan, gans, generative adversarial network, 生成对抗网络": "image-generation image-to-image-translation",
        "point cloud, point clouds, 点云": "point-cloud-classification point-cloud-segmentation"
        " point-cloud-compression 3d-object-detection",
        "diffusion, diffusion model, 扩散模型": "image-generation text-to-image text-to-video image-to-video",
        "generative, generative model, aigc, 生成模型": "image-generation text-to-image text-to-video image-to-video"
        " image-to-3d text-to-3d",
        "video generation, 视频生成": "text-to-video image-to-video",
        "3d generation": "image-to-3d text-to-3d",
        "video, 视频": "video-classification video-prediction video-super-resolution text-to-video image-to-video"
        " temporal-localization object-tracking",
        "medical, medical imaging, 医学, 医疗": "medical-image-segmentation",
    }.items()
}

# What follows the dash in module-type, where only the area says what is meant.
AREA_WORDS = {
    "cv": {
        "classification": "image-classification",
        "detection": "object-detection",
        "segmentation": "image-segmentation",
        "generation": "image-generation",
        "recognition": "image-classification",
    },
    "nlp": {"classification": "text-classification", "generation": "language-modeling"},
    "audio": {"classification": "audio-classification", "tagging": "audio-tagging"},
    "gnn": {"classification": "node-classification"},
}

# On these data sets, a network for pictures is seldom a plain classifier.
NOT_CLASSIFIED = ("coco", "voc", "pascalvoc", "objects365", "openimages", "lvis", "ade20k")
CLASSIFIED = ("imagenet", "cifar", "mnist", "fashionmnist")
